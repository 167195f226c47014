"""The training loop.

A step: this process's micro-batches, their gradients averaged over all processes, clipped, one
optimizer step, one proximal step of the sparsity term, one update of the moving average. Everything
random follows from (seed, epoch, place), so a run that was killed ends with the same weights as one
that was not.
"""

import copy
import math
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch import Tensor, nn

from yoloprune.darknet.shapes import layer_shapes
from yoloprune.darknet.spec import NetworkSpec, with_input_size
from yoloprune.darknet.state import State
from yoloprune.datasets.labels import Dataset
from yoloprune.datasets.loader import Batch, TrainingImages, micro_batches
from yoloprune.errors import CheckpointError, DatasetError
from yoloprune.evaluation.evaluator import evaluate
from yoloprune.model.network import Network
from yoloprune.training.assign import Objects
from yoloprune.training.checkpoint import Checkpoint, Position, load_checkpoint, save_checkpoint
from yoloprune.training.config import TrainingConfig
from yoloprune.training.distill import distillation_loss
from yoloprune.training.distributed import World, parallel
from yoloprune.training.loss import count_positives, detection_loss, trainable_heads
from yoloprune.training.rates import learning_rate, shrink_budget, sparsity
from yoloprune.training.regularize import coupled_scales, shrink, typical_scale, zero_share
from yoloprune.training.run_folder import (
    CHECKPOINT,
    write_batch_picture,
    write_log,
    write_network,
    write_settings,
)

TERMS = ("box", "objectness", "classes", "distillation")
"""Names of the loss terms, in the order in which they are summed."""


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
    loop = _Loop(run_spec, state, config, world, steps, teacher)
    if resume:
        loop.restore(load_checkpoint(run / CHECKPOINT, run_spec, config))
    elif world.is_first:
        write_settings(run, config, {"training_images": len(training.images)})
    if config.sparsity and not resume:
        _check_sparsity(loop, warn)
    images = TrainingImages(
        training, augment=config.augment, mosaic=config.mosaic, seed=config.seed
    )
    images.fill_cache()
    with _stop_flag() as stopped:
        while loop.position.epoch < config.epochs:
            _train_epoch(loop, images, run, report, stopped)
            _finish_epoch(loop, validation, run)
    return loop.log


class _Loop:
    """A run's state between steps."""

    def __init__(
        self,
        spec: NetworkSpec,
        state: State,
        config: TrainingConfig,
        world: World,
        steps: int,
        teacher: Network | None,
    ) -> None:
        torch.manual_seed(config.seed)
        self.spec, self.config, self.world = spec, config, world
        self.steps_per_epoch = steps
        self.network = Network.from_state(spec, state).to(world.device)
        # mypy knows no overload of Module.to for a memory format alone.
        self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.network.train()
        self.teacher = None if teacher is None else teacher.to(world.device).eval()
        self.average = copy.deepcopy(self.network).eval().requires_grad_(False)
        self.optimizer = _optimizer(self.network, config)
        self.forward = parallel(self.network, world)
        self.scales = coupled_scales(self.network)
        self.average_scales = coupled_scales(self.average)
        self.position = Position(epoch=0, step=0, sums=(0.0,) * len(TERMS))
        self.steps = 0
        self.log: list[dict[str, Any]] = []
        self.best = -1.0

    def restore(self, checkpoint: Checkpoint) -> None:
        self.network.load_state_dict(checkpoint.model)
        self.average.load_state_dict(checkpoint.average)
        self.optimizer.load_state_dict(checkpoint.optimizer)
        self.position, self.steps = checkpoint.position, checkpoint.steps
        self.log, self.best = checkpoint.log, checkpoint.best
        torch.set_rng_state(checkpoint.random)

    def save(self, run: Path) -> None:
        if not self.world.is_first:
            return
        checkpoint = Checkpoint(
            position=self.position,
            steps=self.steps,
            model=self.network.state_dict(),
            average=self.average.state_dict(),
            optimizer=self.optimizer.state_dict(),
            log=self.log,
            best=self.best,
            random=torch.get_rng_state(),
        )
        save_checkpoint(run / CHECKPOINT, self.spec, self.config, checkpoint)

    @property
    def learning_rate(self) -> float:
        return learning_rate(self.config, self.steps, self.steps_per_epoch)

    @property
    def sparsity(self) -> float:
        return sparsity(self.config, self.steps, self.steps_per_epoch)


def _check_sparsity(loop: _Loop, warn: Callable[[str], None]) -> None:
    budget = shrink_budget(loop.config, loop.steps_per_epoch)
    scale = typical_scale(loop.scales)
    if budget < scale:
        warn(
            f"sparsity {loop.config.sparsity:g} can shrink a batch-norm scale by {budget:.3g} over "
            f"the whole run, but they are {scale:.3g}: none will become 0; try "
            f"{2 * loop.config.sparsity * scale / budget:.2g}"
        )


def _optimizer(network: Network, config: TrainingConfig) -> torch.optim.Optimizer:
    """Weight decay on kernels alone: parameters with more than one dimension."""
    kernels = [p for p in network.parameters() if p.ndim > 1]
    others = [p for p in network.parameters() if p.ndim <= 1]
    groups = [
        {"params": kernels, "weight_decay": config.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    if config.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=config.learning_rate, betas=(config.momentum, 0.999))
    return torch.optim.SGD(
        groups, lr=config.learning_rate, momentum=config.momentum, nesterov=config.momentum > 0
    )


def _train_epoch(
    loop: _Loop,
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
        losses = _step(loop, step_batches)
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


def _step(loop: _Loop, batches: list[Batch]) -> tuple[float, ...]:
    """One optimizer step; returns the loss terms of the whole batch."""
    config, world = loop.config, loop.world
    rate = loop.learning_rate
    for group in loop.optimizer.param_groups:
        group["lr"] = rate
    objects = [_objects(batch).to(world.device) for batch in batches]
    counts = [_count(loop.spec, batch, o) for batch, o in zip(batches, objects, strict=True)]
    normaliser = max(1.0, world.total([float(sum(counts))])[0])
    loop.optimizer.zero_grad(set_to_none=True)
    terms = torch.zeros(len(TERMS))
    for number, (batch, own) in enumerate(zip(batches, objects, strict=True)):
        last = number == len(batches) - 1
        # Processes exchange gradients once a step, after the last micro-batch.
        with nullcontext() if last or world.size == 1 else loop.forward.no_sync():  # type: ignore[operator]
            losses = _losses(loop, batch, own, normaliser)
            # Gradients are averaged over the processes, the loss is a sum over them.
            torch.autograd.backward(losses.sum() * world.size)
        terms += losses.detach().float().cpu()
    totals = world.total(terms.tolist())
    if not all(math.isfinite(value) for value in totals):
        raise CheckpointError(
            f"the loss is {totals} at epoch {loop.position.epoch}, step {loop.position.step}: "
            "stopped; the last checkpoint is kept; try a lower --learning-rate"
        )
    nn.utils.clip_grad_norm_(loop.network.parameters(), config.clip_norm)
    loop.optimizer.step()
    if config.sparsity:
        shrink(loop.scales, rate * loop.sparsity / (1 - config.momentum))
    _update_average(loop)
    loop.steps += 1
    return tuple(totals)


def _losses(loop: _Loop, batch: Batch, objects: Objects, normaliser: float) -> Tensor:
    """The loss terms of a micro-batch, in the order of `TERMS`."""
    config, device = loop.config, loop.world.device
    images = batch.images.to(device, non_blocking=True).float().div_(255)
    images = images.contiguous(memory_format=torch.channels_last)
    size = (images.shape[2], images.shape[3])
    half = {"bfloat16": torch.bfloat16, "float16": torch.float16}.get(config.precision)
    with torch.autocast(device.type, dtype=half, enabled=half is not None):
        maps = loop.forward(images)
        teacher_maps = None
        if loop.teacher is not None:
            with torch.no_grad():
                teacher_maps = loop.teacher(images)
    loss = detection_loss(loop.spec, maps, objects, size, normaliser)
    distillation = maps[0].new_zeros((), dtype=torch.float32)
    if teacher_maps is not None:
        distillation = config.distillation * distillation_loss(
            trainable_heads(loop.spec), maps, teacher_maps, normaliser
        )
    return torch.stack([loss.box, loss.objectness, loss.classes, distillation])


def _objects(batch: Batch) -> Objects:
    return Objects(image=batch.image, label=batch.label, boxes=batch.boxes)


def _count(spec: NetworkSpec, batch: Batch, objects: Objects) -> int:
    height, width = batch.images.shape[2:]
    sized = with_input_size(spec, height, width)
    return count_positives(sized, objects, head_grids(sized), (height, width))


def head_grids(spec: NetworkSpec) -> list[tuple[int, int]]:
    """(rows, columns) of every head's map."""
    shapes = layer_shapes(spec)
    return [shapes[head.index][1:] for head in spec.heads]


def _update_average(loop: _Loop) -> None:
    # A young average follows closely, or it would remember the random start for too long.
    decay = min(loop.config.ema_decay, (1 + loop.steps) / (10 + loop.steps))
    with torch.no_grad():
        pairs = zip(
            loop.average.state_dict().values(), loop.network.state_dict().values(), strict=True
        )
        for average, current in pairs:
            if average.is_floating_point():
                average.lerp_(current, 1 - decay)
            else:
                average.copy_(current)
    if loop.config.sparsity:
        # What is exactly 0 now stays 0 in the average too: only an exact 0 can be removed exactly.
        for current_group, average_group in zip(loop.scales, loop.average_scales, strict=True):
            for a, b in zip(current_group.parameters, average_group.parameters, strict=True):
                b[a == 0] = 0


def _finish_epoch(loop: _Loop, validation: Dataset | None, run: Path) -> None:
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
