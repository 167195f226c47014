"""The training loop: epochs of steps, checkpoints between them, an evaluation after them.

Everything random follows from (seed, epoch, place), so a run that was killed ends with the same
weights as one that was not.
"""

import copy
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from yoloprune.darknet.shapes import layer_shapes
from yoloprune.darknet.spec import NetworkSpec, with_input_size
from yoloprune.darknet.state import State
from yoloprune.datasets.labels import Dataset
from yoloprune.datasets.loader import TrainingImages, micro_batches
from yoloprune.errors import CheckpointError, DatasetError
from yoloprune.evaluation.evaluator import evaluate
from yoloprune.model.network import Network
from yoloprune.training.checkpoint import Position, load_checkpoint
from yoloprune.training.config import TrainingConfig
from yoloprune.training.distributed import World
from yoloprune.training.loop import TERMS, Loop
from yoloprune.training.loss import trainable_heads
from yoloprune.training.regularize import zero_share
from yoloprune.training.run_folder import (
    CHECKPOINT,
    write_batch_picture,
    write_log,
    write_network,
    write_settings,
)
from yoloprune.training.step import training_step


@dataclass(frozen=True, slots=True, kw_only=True)
class StepReport:
    """What a progress bar shows after a step."""

    epoch: int
    epochs: int
    step: int
    steps: int
    loss: float
    images: int
    best: float


class InterruptedRunError(Exception):
    """The user asked the run to stop; the checkpoint is written."""


def train(
    spec: NetworkSpec,
    state: State,
    *,
    training: Dataset,
    validation: Dataset | None,
    config: TrainingConfig,
    run: Path,
    world: World,
    teacher: Network | None = None,
    resume: bool = False,
    report: Callable[[StepReport], None] = lambda step: None,
    after_epoch: Callable[[dict[str, Any]], None] = lambda line: None,
    warn: Callable[[str], None] = lambda message: None,
) -> list[dict[str, Any]]:
    """Train a network and write its run folder; returns the log, one entry an epoch.

    `best.cfg/.weights` is the moving average with the best mAP on `validation` (of the last epoch
    if there is none), `last.cfg/.weights` that of the last epoch. Raises `DatasetError` for data
    that cannot train this network, `CheckpointError` for a checkpoint that does not fit or a loss
    that is not finite, and `InterruptedRunError` when stopped by the user, once the checkpoint is
    written.
    """
    run_spec = with_input_size(spec, config.image_size, config.image_size)
    trainable_heads(run_spec)
    steps = len(training.images) // config.batch_size
    if not steps:
        raise DatasetError(
            f"{len(training.images)} training images are fewer than one batch of "
            f"{config.batch_size}: choose a smaller --batch-size"
        )
    if config.accumulate % world.size:
        raise DatasetError(
            f"accumulate={config.accumulate} must be a multiple of the {world.size} processes"
        )
    if not resume and (run / CHECKPOINT).exists():
        raise CheckpointError(f"{run} holds a run: give --resume to go on, or another --out")
    layer_shapes(run_spec)
    loop = Loop(run_spec, state, config, world, steps, teacher)
    if resume:
        loop.restore(load_checkpoint(run / CHECKPOINT, run_spec, config))
    elif world.is_first:
        write_settings(run, config, {"training_images": len(training.images)})
    if config.sparsity and not resume:
        loop.check_sparsity(warn)
    images = TrainingImages(
        training, augment=config.augment, mosaic=config.mosaic, seed=config.seed
    )
    images.fill_cache()
    with _stop_flag() as stopped:
        while loop.position.epoch < config.epochs:
            _train_epoch(loop, images, run, report, stopped)
            _finish_epoch(loop, validation, run)
            if world.is_first:
                after_epoch(loop.log[-1])
    return loop.log


def _train_epoch(
    loop: Loop,
    images: TrainingImages,
    run: Path,
    report: Callable[[StepReport], None],
    stopped: Callable[[], bool],
) -> None:
    config, world = loop.config, loop.world
    own = config.accumulate // world.size
    batches = micro_batches(
        images,
        batch_size=config.batch_size,
        parts=config.accumulate,
        own_parts=range(world.rank * own, (world.rank + 1) * own),
        epoch=loop.position.epoch,
        first_step=loop.position.step,
        base_size=config.image_size,
        multi_scale=config.multi_scale,
        workers=config.workers,
    )
    saved = time.monotonic()
    for step in range(loop.position.step, loop.steps_per_epoch):
        step_batches = [next(batches) for _ in range(own)]
        if loop.steps == 0 and world.is_first:
            write_batch_picture(run, step_batches[0])
        losses = training_step(loop, step_batches)
        sums = tuple(a + b for a, b in zip(loop.position.sums, losses, strict=True))
        loop.position = Position(epoch=loop.position.epoch, step=step + 1, sums=sums)
        report(
            StepReport(
                epoch=loop.position.epoch,
                epochs=config.epochs,
                step=step + 1,
                steps=loop.steps_per_epoch,
                loss=sum(losses),
                images=config.batch_size,
                best=loop.best,
            )
        )
        if world.agree(stopped()):
            loop.save(run)
            raise InterruptedRunError
        if time.monotonic() - saved > 60 * config.checkpoint_minutes:
            loop.save(run)
            saved = time.monotonic()


def _finish_epoch(loop: Loop, validation: Dataset | None, run: Path) -> None:
    config, world, position = loop.config, loop.world, loop.position
    world.average_buffers(loop.network)
    epoch = position.epoch + 1
    line: dict[str, Any] = {
        "epoch": epoch,
        "learning_rate": loop.learning_rate,
        "loss": {
            name: total / loop.steps_per_epoch
            for name, total in zip(TERMS, position.sums, strict=True)
        },
        "zero_channels": zero_share(loop.scales),
        "map50": None,
    }
    due = epoch % config.evaluate_every == 0 or epoch == config.epochs
    better = validation is None
    if due and validation is not None and world.is_first:
        found = evaluate(loop.average.cpu(), validation, "case-study")
        loop.average.to(world.device)
        line["map50"] = found.map50
        better = found.map50 > loop.best
        loop.best = max(loop.best, found.map50)
    world.wait()
    loop.log.append(line)
    loop.position = Position(epoch=epoch, step=0, sums=(0.0,) * len(TERMS))
    if world.is_first:
        state = copy.deepcopy(loop.average).cpu().state()
        seen = loop.steps * config.batch_size
        if better:
            write_network(run, "best", loop.spec, state, seen)
        if epoch == config.epochs:
            write_network(run, "last", loop.spec, state, seen)
        loop.save(run)
        write_log(run, loop.log)


@contextmanager
def _stop_flag() -> Iterator[Callable[[], bool]]:
    """A flag that Ctrl-C raises, to stop between two steps; a second Ctrl-C stops at once."""
    raised = False

    def handle(number: int, frame: FrameType | None) -> None:
        nonlocal raised
        raised = True
        signal.signal(signal.SIGINT, before)

    before = signal.signal(signal.SIGINT, handle)
    try:
        yield lambda: raised
    finally:
        signal.signal(signal.SIGINT, before)
