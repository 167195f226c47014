"""The `yoloprune` command: its commands, and how errors reach the user."""

from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from yoloprune.cli.console import errors
from yoloprune.errors import YoloPruneError


class _OneLineErrors(TyperGroup):
    """Prints what a user can mend as one line and exits with code 2; `--debug` shows it whole."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command that was asked for."""
        try:
            return super().invoke(ctx)
        except (YoloPruneError, OSError) as error:
            if ctx.params.get("debug"):
                raise
            errors.print(f"[bold red]error:[/] {_escaped(error)}", soft_wrap=True)
            raise typer.Exit(2) from None


def _escaped(error: Exception) -> str:
    from rich.markup import escape

    return escape(" ".join(str(error).split()))


app = typer.Typer(
    cls=_OneLineErrors,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Structural pruning for Darknet YOLO detectors: analysed, exact, verified.",
)


@app.callback()
def _global(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Options before the command's name."""


def main() -> None:
    """Run the command line."""
    app()
