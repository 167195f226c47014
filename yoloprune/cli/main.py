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

import yoloprune
from yoloprune.cli.flags import said
from yoloprune.cli.on_demand import OnDemand
from yoloprune.cli.pairs import with_pairs
from yoloprune.errors import YoloPruneError
from yoloprune.memory import is_out_of_memory
from yoloprune.training.peers import among_others, first_speaks

COMMANDS = {
    "inspect": (
        "inspect:inspect",
        "Show layers, cost and channel groups: what may go, and why the rest is frozen.",
    ),
    "sweep": (
        "sweep:sweep",
        "Show how mAP@0.5 (coco) falls with the MACs, for each criterion, without fine-tuning.",
    ),
    "compare": (
        "compare:compare",
        "Thin a network with several programs to the same MACs; print time, error and mAP of each.",
    ),
    "prune": (
        "prune:prune",
        "Remove channels to meet a budget; prove, write and report the slim network.",
    ),
    "sparsify": (
        "sparsify:sparsify",
        "Set the weights of smallest magnitude to zero; write network, masks and a packed file.",
    ),
    "expand": (
        "sparsify:expand",
        "Unpack a .packed file into .weights, or into an .onnx, losslessly.",
    ),
    "reconstruct": (
        "reconstruct:reconstruct",
        "Re-fit a pruned network's kernels to the dense network, in closed form, without labels.",
    ),
    "verify": (
        "verify:verify",
        "Prove again that a pruned folder is exactly what its plan makes of the dense network.",
    ),
    "evaluate": (
        "evaluate:evaluate",
        "Measure mAP, precision and recall of a network on labeled images.",
    ),
    "detect": (
        "detect:detect",
        "Find objects, draw them, and list them in DIR/detections.json and .csv.",
    ),
    "train": (
        "train:train",
        "Train a network with YOLO heads; `--resume` continues a stopped run.",
    ),
    "finetune": (
        "train:finetune",
        "Train a network further, with or without its dense teacher; a folder's zeros stay zero.",
    ),
    "iterate": (
        "iterate:iterate",
        "Prune in small steps with fine-tuning between them; `--resume` continues a stopped run.",
    ),
    "case-study": (
        "case_study:case_study",
        "Train, prune, fine-tune, measure and report; run again to resume.",
    ),
    "report": (
        "case_study:report",
        "Write report.html: of a case study, or of a pruned network beside the dense one.",
    ),
    "export": (
        "export:export",
        "Write a network as ONNX, and check the file in ONNX Runtime.",
    ),
    "quantize": (
        "quantize:quantize",
        "Write a network in int8 for ONNX Runtime, as fast as a limit on its loss allows.",
    ),
    "benchmark": (
        "benchmark:benchmark",
        "Time networks at batch 1 in the usual engines, alternating run by run.",
    ),
    "zoo": ("zoo:zoo", "Write the cfg of a built-in network."),
    "init": (
        "init:init",
        "Write seeded random weights and batch-norm statistics for a network.",
    ),
    "data": ("data:data_app", "Prepare, check and divide labeled data sets."),
}
"""Where in `yoloprune.cli` each command is, and its line in the list: the head of its help."""

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class _OneLineErrors(TyperGroup):
    """Prints what a user can mend as one line and exits with code 2; `--debug` shows it whole."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        for name, (where, line) in COMMANDS.items():
            self.add_command(OnDemand(name, f"yoloprune.cli.{where}", line))

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Refuse words that no file can be called by; no system passes them on, but tests do."""
        for word in args:
            try:
                possible = b"\0" not in os.fsencode(word)
            except UnicodeEncodeError:
                possible = False
            if not possible:
                _refuse(f"{word}: no file can have this name")
        try:
            args = with_pairs(args)
        except YoloPruneError as error:
            _refuse(str(error))
        return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        """Run the command that was asked for."""
        try:
            with first_speaks():
                return super().invoke(ctx)
        except YoloPruneError as error:
            if ctx.params.get("debug"):
                raise
            _refuse(said(str(error)))
        except OSError as error:
            # A reader that has seen enough (`| head`) is no error; the framework ends quietly.
            if ctx.params.get("debug") or isinstance(error, BrokenPipeError):
                raise
            _refuse(f"{_where(error)}{error.strerror or error}")
        except typer.TyperException as error:
            if type(error).__name__ == "NoArgsIsHelpError":
                raise  # A group without a command answers with its help.
            _refuse(error.format_message())
        except Exception as error:
            if ctx.params.get("debug") or not is_out_of_memory(error):
                raise
            _refuse("out of memory: the network, or what it is to read at once, is too large here")


def _where(error: OSError) -> str:
    """What an error is about, if that is known."""
    if error.filename:
        return f"{error.filename}: "
    # Whatever else is written is named.
    return "standard output: " if error.errno in _FULL else ""


def _refuse(message: str) -> NoReturn:
    # Here, as rich takes longer than all else that the list of commands needs.
    from yoloprune.cli.console import errors

    # Where nothing can be printed, the exit code has to do.
    with suppress(OSError):
        errors.print("error: ", style="bold red", end="")
        errors.print(" ".join(message.splitlines()), soft_wrap=True)
    raise typer.Exit(2) from None


app = typer.Typer(
    cls=_OneLineErrors,
    no_args_is_help=True,
    # The list is plain, and so there at once; the help of a command is rich.
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Structural pruning of trained detectors, ONNX or Darknet: analyzed, exact, verified.",
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"yoloprune {yoloprune.__version__}")
        raise typer.Exit


@app.callback()
def _global(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    """Options before the command's name."""


def main() -> None:
    """Run the command line; SIGTERM ends it with 143, and what it did half is removed."""
    if not among_others():
        # Among others it says that one has failed, and whoever waits for that one would not hear.
        signal.signal(signal.SIGTERM, _terminate)
    app()


def _terminate(number: int, frame: FrameType | None) -> NoReturn:
    sys.exit(128 + number)
