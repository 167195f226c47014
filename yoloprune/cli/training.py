"""What the commands that train share: their options, and what a signal leads to."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from yoloprune.cli.console import errors
from yoloprune.darknet.spec import NetworkSpec
from yoloprune.errors import DatasetError
from yoloprune.training.config import LARGEST_SEED, ImageSize
from yoloprune.training.distributed import World
from yoloprune.training.engine import InterruptedRunError

DataPath = Annotated[Path, typer.Option("--data", help="Folder, data.yaml, .data or COCO .json.")]
RunPath = Annotated[Path, typer.Option("--out", help="Run folder: checkpoint, networks, log.")]
HoldOut = Annotated[
    float,
    typer.Option(
        "--hold-out",
        help="Share of the training images to choose the best epoch by; 0: the evaluation split.",
    ),
]
ProtocolName = Annotated[
    str,
    typer.Option("--protocol", help="Whose mAP@0.5 chooses the best epoch: coco or case-study."),
]
Epochs = Annotated[int, typer.Option("--epochs", min=1, help="Passes over the training images.")]
EvaluateEvery = Annotated[
    int, typer.Option("--evaluate-every", min=1, help="Epochs between evaluations.")
]
BatchSize = Annotated[int, typer.Option("--batch-size", min=1, help="Images per optimizer step.")]
Accumulate = Annotated[
    int, typer.Option("--accumulate", min=1, help="Micro-batches per step, over all processes.")
]
AskedSize = Annotated[
    str | None,
    typer.Option(
        "--image-size",
        metavar="SIDE|WxH",
        help="Input size, pixels: 416, or width x height such as 320x192.",
        show_default="the cfg's own",
    ),
]
LearningRate = Annotated[float, typer.Option("--learning-rate", help="Peak learning rate.")]
Precision = Annotated[
    str, typer.Option("--precision", help="Of the forward pass: float32, bfloat16 or float16.")
]
Compile = Annotated[bool, typer.Option("--compile", help="Let torch.compile make the kernels.")]
Tensorboard = Annotated[bool, typer.Option("--tensorboard", help="Log for TensorBoard too.")]
Workers = Annotated[int, typer.Option("--workers", min=0, help="Loader processes.")]
Seed = Annotated[
    int, typer.Option("--seed", min=0, max=LARGEST_SEED, help="Seed of everything random.")
]
Resume = Annotated[bool, typer.Option("--resume", help="Go on from the run's checkpoint.")]


SMALLEST_SIDE = 32
"""Of an input size that is asked for; a cfg may have a smaller one."""


def training_size(spec: NetworkSpec, asked: str | None) -> ImageSize:
    """Size of the input to train with: as asked, SIDE or WIDTHxHEIGHT, or the cfg's own.

    Raises `DatasetError` for a text that is no such size.
    """
    _, height, width = spec.input_shape
    if asked is not None:
        sides = re.fullmatch(r"(\d{1,5})(?:x(\d{1,5}))?", asked.strip().lower())
        if sides is None:
            raise DatasetError(
                f"--image-size {asked}: give a side such as 416, or width x height such as 320x192"
            )
        width = int(sides[1])
        height = int(sides[2] or sides[1])
        if min(width, height) < SMALLEST_SIDE:
            raise DatasetError(f"--image-size {asked}: a side is less than {SMALLEST_SIDE} pixels")
    return height if height == width else (height, width)


@contextmanager
def stoppable(
    run: Path, here: World, how: str = "run the same command with --resume"
) -> Iterator[None]:
    """Around training: a signal ends the program with 128 more, and `how` the run is resumed."""
    try:
        yield
    except InterruptedRunError as interruption:
        if here.is_first:
            errors.print(f"stopped: {how} to go on from {run}")
        raise typer.Exit(128 + interruption.signal) from None
