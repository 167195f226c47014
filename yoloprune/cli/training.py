"""What the commands that train share: their options, their data, their progress bar."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from yoloprune.cli.console import Description, errors, progress_bar, warn
from yoloprune.darknet.spec import NetworkSpec
from yoloprune.darknet.state import State
from yoloprune.data.dataset import Dataset
from yoloprune.errors import DatasetError
from yoloprune.evaluation.evaluator import Protocol
from yoloprune.model.network import Network
from yoloprune.sparsity.masks import WeightMasks
from yoloprune.training.config import LARGEST_SEED, ImageSize, TrainingConfig
from yoloprune.training.distributed import World
from yoloprune.training.engine import InterruptedRunError, StepReport, train
from yoloprune.training.tensorboard import tensorboard_log

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


def shown_training(
    spec: NetworkSpec,
    state: State,
    *,
    training: Dataset,
    validation: Dataset | None,
    config: TrainingConfig,
    run: Path,
    here: World,
    teacher: Network | None = None,
    masks: WeightMasks | None = None,
    tensorboard: bool = False,
    resume: bool,
    quiet: bool,
    stop: Callable[[], bool] = lambda: False,
    how_to_go_on: str = "run the same command with --resume",
) -> list[dict[str, Any]]:
    """Train with a progress bar; a signal ends the program with 128 more, the run resumable."""
    with _progress(quiet or not here.is_first, config.protocol) as report:
        try:
            return train(
                spec,
                state,
                training=training,
                validation=validation,
                config=config,
                run=run,
                world=here,
                teacher=teacher,
                masks=masks,
                resume=resume,
                report=report,
                after_epoch=_epoch_line(
                    config, quiet, tensorboard_log(run, config.protocol) if tensorboard else None
                ),
                warn=warn,
                stop=stop,
            )
        except InterruptedRunError as interruption:
            if here.is_first:
                errors.print(f"stopped: {how_to_go_on} to go on from {run}")
            raise typer.Exit(128 + interruption.signal) from None


def _epoch_line(
    config: TrainingConfig, quiet: bool, log: Callable[[dict[str, Any]], None] | None
) -> Callable[[dict[str, Any]], None]:
    """Logs an epoch; outside a terminal, where there is no bar, it prints a line too."""

    def add(line: dict[str, Any]) -> None:
        if log is not None:
            log(line)
        if not quiet and not errors.is_terminal:
            loss, accuracy = sum(line["loss"].values()), ""
            if line["map50"] is not None:
                accuracy = f", mAP@0.5 ({config.protocol}) {line['map50']:.4f}"
            errors.print(f"epoch {line['epoch']}/{config.epochs}: loss {loss:.3f}{accuracy}")

    return add


@contextmanager
def _progress(silent: bool, protocol: Protocol) -> "Iterator[_Report]":
    columns = (
        Description(),
        BarColumn(),
        TextColumn("{task.fields[state]}"),
        TimeRemainingColumn(),
    )
    with progress_bar(*columns, quiet=silent, transient=False) as bar:
        task = bar.add_task("training", total=None, state="")
        yield _Report(bar, task, protocol)


class _Report:
    """Shows loss, images a second and the best mAP so far."""

    def __init__(self, bar: Progress, task: TaskID, protocol: Protocol) -> None:
        self.bar, self.task, self.protocol = bar, task, protocol
        self.smooth: float | None = None

    def __call__(self, step: StepReport) -> None:
        """Update the bar after a step."""
        smooth = step.loss if self.smooth is None else 0.95 * self.smooth + 0.05 * step.loss
        self.smooth = smooth
        speed = self.bar.tasks[0].speed or 0.0
        parts = [f"loss {smooth:.2f}"]
        if step.best >= 0:
            parts.append(f"mAP@0.5 ({self.protocol}) {step.best:.3f}")
        if step.zero_channels is not None:
            parts.append(f"{step.zero_channels:.1%} of channels 0")
        parts.append(f"{speed * step.images:.0f} images/s")
        self.bar.update(
            self.task,
            description=f"epoch {step.epoch + 1}/{step.epochs}",
            total=step.epochs * step.steps,
            completed=step.epoch * step.steps + step.step,
            state="  ".join(parts),
        )
