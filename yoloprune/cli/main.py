"""The `yoloprune` command: its commands, and how errors reach the user."""

import errno
import os
import signal
import sys
from contextlib import suppress
from types import FrameType
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

from yoloprune.cli.benchmark import benchmark
from yoloprune.cli.case_study import case_study, report
from yoloprune.cli.console import errors
from yoloprune.cli.data import data_app
from yoloprune.cli.detect import detect
from yoloprune.cli.evaluate import evaluate
from yoloprune.cli.export import export
from yoloprune.cli.init import init
from yoloprune.cli.inspect import inspect
from yoloprune.cli.iterate import iterate
from yoloprune.cli.prune import prune
from yoloprune.cli.reconstruct import reconstruct
from yoloprune.cli.sparsify import expand, sparsify
from yoloprune.cli.sweep import sweep
from yoloprune.cli.train import finetune, train
from yoloprune.cli.verify import verify
from yoloprune.cli.zoo import zoo
from yoloprune.errors import FaultyDataError, YoloPruneError
from yoloprune.training.distributed import among_others, first_speaks
from yoloprune.training.memory import is_out_of_memory

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class _OneLineErrors(TyperGroup):
    """Prints what a user can mend as one line and exits with code 2; `--debug` shows it whole."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Refuse words that no file can be called by; no system passes them on, but tests do."""
        for word in args:
            try:
                possible = b"\0" not in os.fsencode(word)
            except UnicodeEncodeError:
                possible = False
            if not possible:
                _refuse(f"{word}: no file can have this name")
        return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        """Run the command that was asked for."""
        try:
            with first_speaks():
                return super().invoke(ctx)
        except YoloPruneError as error:
            if ctx.params.get("debug"):
                raise
            allowed = isinstance(error, FaultyDataError)
            _refuse(f"{error}{': --allow-faulty uses the rest' * allowed}")
        except OSError as error:
            # A reader that has seen enough (`| head`) is no error; the framework ends quietly.
            if ctx.params.get("debug") or isinstance(error, BrokenPipeError):
                raise
            _refuse(f"{_where(error)}{error.strerror or error}")
        except (MemoryError, RuntimeError) as error:
            if ctx.params.get("debug") or not is_out_of_memory(error):
                raise
            _refuse("out of memory: the network, or what it is to read at once, is too large here")
        except typer.TyperException as error:
            if type(error).__name__ == "NoArgsIsHelpError":
                raise  # A group without a command answers with its help.
            _refuse(error.format_message())


def _where(error: OSError) -> str:
    """What an error is about, if that is known."""
    if error.filename:
        return f"{error.filename}: "
    # Whatever else is written is named.
    return "standard output: " if error.errno in _FULL else ""


def _refuse(message: str) -> NoReturn:
    # Where nothing can be printed, the exit code has to do.
    with suppress(OSError):
        errors.print("error: ", style="bold red", end="")
        errors.print(" ".join(message.splitlines()), soft_wrap=True)
    raise typer.Exit(2) from None


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


for _command in (
    inspect,
    sweep,
    prune,
    sparsify,
    expand,
    reconstruct,
    verify,
    evaluate,
    detect,
    train,
    finetune,
    iterate,
    case_study,
    report,
    export,
    benchmark,
    zoo,
    init,
):
    app.command()(_command)
app.add_typer(data_app, name="data")


def main() -> None:
    """Run the command line; SIGTERM ends it with 143, and what it did half is removed."""
    if not among_others():
        # Among others it says that one has failed, and whoever waits for that one would not hear.
        signal.signal(signal.SIGTERM, _terminate)
    app()


def _terminate(number: int, frame: FrameType | None) -> NoReturn:
    sys.exit(128 + number)
