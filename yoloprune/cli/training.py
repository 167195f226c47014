"""What the commands that train share beside their options."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import typer

from yoloprune.cli.console import errors
from yoloprune.errors import ClassesError, UsageError
from yoloprune.training.engine import InterruptedRunError
from yoloprune.training.peers import is_first

SMALLEST_SIDE = 32
"""Of an input size that is asked for; a cfg may have a smaller one."""


def asked_size(text: str | None) -> dict[str, Any]:
    """The setting for an input size as asked, SIDE or WIDTHxHEIGHT; nothing for the cfg's own.

    Raises `UsageError` for a text that is no such size.
    """
    if text is None:
        return {}
    sides = re.fullmatch(r"(\d{1,5})(?:x(\d{1,5}))?", text.strip().lower())
    if sides is None:
        raise UsageError(
            f"--image-size {text}: give a side such as 416, or width x height such as 320x192"
        )
    width = int(sides[1])
    height = int(sides[2] or sides[1])
    if min(width, height) < SMALLEST_SIDE:
        raise UsageError(f"--image-size {text}: a side is less than {SMALLEST_SIDE} pixels")
    return {"image_size": height if height == width else (height, width)}


@contextmanager
def training_errors(run: Path, how: str = "run the same command with --resume") -> Iterator[None]:
    """Around training: a signal ends the program with 128 more, and `how` the run is resumed.

    To a mismatch of classes it adds which option mends it.
    """
    try:
        yield
    except InterruptedRunError as interruption:
        if is_first():
            errors.print(f"stopped: {how} to resume {run}", soft_wrap=True)
        raise typer.Exit(128 + interruption.signal) from None
    except ClassesError as error:
        raise ClassesError(
            f"{error}: --fit-heads (train, finetune, case-study) makes heads that fit the data"
        ) from error
