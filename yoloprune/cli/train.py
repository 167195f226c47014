"""`yoloprune train` and `finetune`."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from yoloprune.cli.console import CfgPath, Quiet, errors, output
from yoloprune.darknet.parser import read_cfg
from yoloprune.darknet.spec import NetworkSpec, with_input_size
from yoloprune.darknet.state import ConvParameters, State
from yoloprune.darknet.weights import read_weights
from yoloprune.datasets.labels import Dataset, read_dataset
from yoloprune.detection.decode import class_count
from yoloprune.errors import DatasetError
from yoloprune.model.initialization import training_state
from yoloprune.model.network import Network
from yoloprune.training.config import TrainingConfig
from yoloprune.training.distributed import World, world
from yoloprune.training.engine import InterruptedRunError, StepReport
from yoloprune.training.engine import train as run_training

DataPath = Annotated[
    Path, typer.Option("--data", help="Folder with splits, or a darknet .data file.")
]
RunPath = Annotated[Path, typer.Option("--out", help="Run folder: checkpoint, networks, log.")]
Epochs = Annotated[int, typer.Option("--epochs", min=1, help="Passes over the training images.")]
BatchSize = Annotated[int, typer.Option("--batch-size", min=1, help="Images per optimizer step.")]
Accumulate = Annotated[
    int, typer.Option("--accumulate", min=1, help="Micro-batches per step, over all processes.")
]
ImageSize = Annotated[
    int | None, typer.Option("--image-size", help="Input side, pixels (the cfg's own).")
]
LearningRate = Annotated[float, typer.Option("--learning-rate", help="Peak learning rate.")]
Seed = Annotated[int, typer.Option("--seed", help="Seed of everything random.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on from the run's checkpoint.")]
Sparsity = Annotated[
    float, typer.Option("--sparsity", help="Strength of the group lasso on batch-norm scales.")
]
SparsitySchedule = Annotated[
    str, typer.Option("--sparsity-schedule", help="constant, or decay to 0 over the run.")
]
MultiScale = Annotated[
    float, typer.Option("--multi-scale", help="Share by which the input size varies.")
]
OptimizerName = Annotated[str, typer.Option("--optimizer", help="sgd or adamw.")]
Precision = Annotated[
    str, typer.Option("--precision", help="On a GPU: float32, bfloat16 or float16.")
]
Workers = Annotated[int, typer.Option("--workers", help="Loader processes.")]


def train(
    cfg: CfgPath,
    data: DataPath,
    out: RunPath,
    weights: Annotated[
        Path | None, typer.Option("--weights", help="Start from these weights.")
    ] = None,
    backbone: Annotated[
        Path | None, typer.Option("--backbone", help="Start from the first layers' weights.")
    ] = None,
    epochs: Epochs = 30,
    batch_size: BatchSize = 16,
    accumulate: Accumulate = 1,
    image_size: ImageSize = None,
    multi_scale: MultiScale = 0.0,
    optimizer: OptimizerName = "sgd",
    learning_rate: LearningRate = 0.01,
    sparsity: Sparsity = 0.0,
    sparsity_schedule: SparsitySchedule = "constant",
    precision: Precision = "float32",
    workers: Workers = 1,
    seed: Seed = 0,
    resume: Resume = False,
    quiet: Quiet = False,
) -> None:
    """Train a network with YOLO heads; `--resume` goes on where a run was stopped."""
    spec = read_cfg(cfg)
    if weights is not None and backbone is not None:
        raise DatasetError("give --weights or --backbone, not both")
    state = training_state(spec, seed=seed)
    if backbone is not None:
        state |= read_weights(backbone, spec, backbone=True)
    elif weights is not None:
        state = read_weights(weights, spec)
    config = TrainingConfig(
        epochs=epochs,
        batch_size=batch_size,
        accumulate=accumulate,
        image_size=training_side(spec, image_size),
        multi_scale=multi_scale,
        optimizer=optimizer,  # type: ignore[arg-type]
        learning_rate=learning_rate,
        sparsity=sparsity,
        sparsity_schedule=sparsity_schedule,  # type: ignore[arg-type]
        precision=precision,  # type: ignore[arg-type]
        workers=workers,
        seed=seed,
    )
    with world() as here:
        _run(spec, state, data, out, config, here, None, resume, quiet)


def finetune(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder that `prune` wrote.")],
    data: DataPath,
    out: RunPath,
    teacher: Annotated[
        tuple[Path, Path] | None,
        typer.Option("--teacher", metavar="CFG WEIGHTS", help="The dense network, to learn from."),
    ] = None,
    epochs: Epochs = 10,
    batch_size: BatchSize = 16,
    accumulate: Accumulate = 1,
    image_size: ImageSize = None,
    learning_rate: LearningRate = 0.005,
    workers: Workers = 1,
    seed: Seed = 0,
    resume: Resume = False,
    quiet: Quiet = False,
) -> None:
    """Train a pruned network further, with or without its dense teacher."""
    spec = read_cfg(folder / "slim.cfg")
    state = read_weights(folder / "slim.weights", spec)
    size = training_side(spec, image_size)
    config = TrainingConfig(
        epochs=epochs,
        batch_size=batch_size,
        accumulate=accumulate,
        image_size=size,
        learning_rate=learning_rate,
        warmup=0.5,
        workers=workers,
        seed=seed,
    )
    teaching = None if teacher is None else _teacher(*teacher, spec, size)
    with world() as here:
        _run(spec, state, data, out, config, here, teaching, resume, quiet)


def training_side(spec: NetworkSpec, image_size: int | None) -> int:
    """Side of the square input to train with: as asked, or the cfg's own if that is square."""
    _, height, width = spec.input_shape
    if image_size is None and height != width:
        raise DatasetError(
            f"the cfg reads {width}x{height} images, but training needs square ones: "
            "give --image-size"
        )
    return image_size or height


def _teacher(cfg: Path, weights: Path, student: NetworkSpec, size: int) -> Network:
    spec = with_input_size(read_cfg(cfg), size, size)
    if [head.channels for head in spec.heads] != [head.channels for head in student.heads]:
        raise DatasetError(f"{cfg}: the teacher's heads differ from the student's")
    return Network.from_state(spec, read_weights(weights, spec))


def _run(
    spec: NetworkSpec,
    state: dict[int, ConvParameters],
    data: Path,
    out: Path,
    config: TrainingConfig,
    here: World,
    teacher: Network | None,
    resume: bool,
    quiet: bool,
) -> None:
    classes = class_count(spec)
    log = shown_training(
        spec,
        state,
        training=read_dataset(data, classes=classes, split="train"),
        validation=read_dataset(data, classes=classes),
        config=config,
        run=out,
        here=here,
        teacher=teacher,
        resume=resume,
        quiet=quiet,
    )
    if here.is_first:
        best = max((line["map50"] or 0.0) for line in log)
        output.print(f"{out}: {len(log)} epochs, best mAP@0.5 {best:.4f} (case-study)")


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
    resume: bool,
    quiet: bool,
    how_to_go_on: str = "run the same command with --resume",
) -> list[dict[str, Any]]:
    """Train with a progress bar; Ctrl-C ends the program with code 130, the run resumable."""
    with _progress(quiet or not here.is_first, config) as report:
        try:
            return run_training(
                spec,
                state,
                training=training,
                validation=validation,
                config=config,
                run=run,
                world=here,
                teacher=teacher,
                resume=resume,
                report=report,
                warn=lambda message: errors.print(f"warning: {message}"),
            )
        except InterruptedRunError:
            if here.is_first:
                errors.print(f"stopped: {how_to_go_on} to go on from {run}")
            raise typer.Exit(130) from None


@contextmanager
def _progress(silent: bool, config: TrainingConfig) -> "Iterator[Report]":
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[state]}"),
        TimeRemainingColumn(),
    )
    bar = Progress(*columns, console=errors, disable=silent or not errors.is_terminal)
    with bar:
        task = bar.add_task("training", total=None, state="")
        yield Report(bar, task)


class Report:
    """Shows loss, images a second and the best mAP so far."""

    def __init__(self, bar: Progress, task: TaskID) -> None:
        self.bar, self.task = bar, task
        self.smooth: float | None = None

    def __call__(self, step: StepReport) -> None:
        """Update the bar after a step."""
        smooth = step.loss if self.smooth is None else 0.95 * self.smooth + 0.05 * step.loss
        self.smooth = smooth
        speed = self.bar.tasks[0].speed or 0.0
        best = f"mAP {step.best:.3f}" if step.best >= 0 else ""
        self.bar.update(
            self.task,
            description=f"epoch {step.epoch + 1}/{step.epochs}",
            total=step.epochs * step.steps,
            completed=step.epoch * step.steps + step.step,
            state=f"loss {smooth:.2f} {best} {speed * step.images:.0f} images/s",
        )
