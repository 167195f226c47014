"""What all commands print with: colour on a terminal, plain text in a pipe."""

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

_Item = TypeVar("_Item")

output = Console()
errors = Console(stderr=True)

CfgPath = Annotated[Path, typer.Argument(metavar="CFG", help="Darknet .cfg file.")]
WeightsPath = Annotated[Path, typer.Argument(metavar="WEIGHTS", help="Darknet .weights file.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print results only, no progress.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")]


def track(items: Iterable[_Item], what: str, total: int | None, quiet: bool) -> Iterator[_Item]:
    """Iterate with a progress bar on stderr; silent with `quiet` or outside a terminal."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    shown = Progress(
        *columns, console=errors, transient=True, disable=quiet or not errors.is_terminal
    )
    with shown as progress:
        yield from progress.track(items, total=total, description=what)


@contextmanager
def stage(what: str, quiet: bool) -> Iterator[None]:
    """Show on stderr what is going on while it lasts; silent with `quiet` or outside a terminal."""
    if quiet or not errors.is_terminal:
        yield
        return
    with errors.status(what):
        yield


def print_json(document: Any) -> None:
    """Print a document as JSON, with nothing that a terminal would add."""
    typer.echo(json.dumps(document, indent=1))
