"""The training loop: epochs of steps, checkpoints between them, an evaluation after them.

Everything random follows from (seed, epoch, place), so a run that was killed ends with the same
weights as one that was not.
"""

import hashlib
import signal
import time
from collections import deque
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from yoloprune.data.dataset import Dataset
from yoloprune.data.device_images import DeviceImages, memory
from yoloprune.data.fingerprint import fingerprint
from yoloprune.data.loader import Batch, TrainingImages, micro_batches
from yoloprune.data.names import write_names
from yoloprune.data.preprocess import darknet_input
from yoloprune.errors import CfgError, DatasetError, RunError, UsageError
from yoloprune.evaluation.detector import network_detector
from yoloprune.evaluation.evaluator import evaluate
from yoloprune.frontends.darknet.document import darknet, for_input_size
from yoloprune.graph.model import Model, raw_bytes
from yoloprune.interrupts import stop_flag
from yoloprune.pruning.weights.masks import WeightMasks, apply_masks
from yoloprune.reporter import SILENT, Reporter, WarnsOnce
from yoloprune.training.checkpoint import Position
from yoloprune.training.config import TrainingConfig
from yoloprune.training.distributed import World
from yoloprune.training.loop import TERMS, Loop
from yoloprune.training.loss import trainable_heads
from yoloprune.training.regularize import zero_share
from yoloprune.training.run_folder import (
    CHECKPOINT,
    drawn_lately,
    write_batch_picture,
    write_curves,
    write_log,
    write_network,
    write_settings,
)
from yoloprune.training.step import capture, training_step
from yoloprune.training.tensorboard import tensorboard_log

STEPS_AHEAD = {"cpu": 0, "cuda": 1}
"""Steps whose losses nobody waits for: a GPU has one to do while the next is prepared."""

FREE_SHARE = 0.25
"""Of a GPU's free memory, for the training images: the rest is for training."""

GPU_CHECKPOINT_SECONDS = 60.0
"""Between checkpoints at the ends of epochs, which take a GPU less time than a large network's
checkpoint does."""


class InterruptedRunError(Exception):
    """The user asked the run to stop, by a signal or otherwise; the checkpoint is written."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.signal = number or signal.SIGINT


def train(
    network: Model,
    *,
    training: Dataset,
    validation: Dataset | None,
    config: TrainingConfig,
    run: Path,
    world: World,
    teacher: Model | None = None,
    masks: WeightMasks | None = None,
    resume: bool = False,
    tensorboard: bool = False,
    reporter: Reporter = SILENT,
    stop: Callable[[], bool] = lambda: False,
) -> list[dict[str, Any]]:
    """Train a Darknet network and write its run folder; returns the log, one entry an epoch.

    `best.cfg/.weights` is the moving average with the best mAP on `validation` (of the last epoch
    if there is none), `last.cfg/.weights` that of the last epoch; .names files lie beside both if
    the classes have names. The weights that `masks` remove are 0 from the first step to the last.
    With `tensorboard` the log is written for TensorBoard too.
    Raises `DatasetError` for data that cannot train this network, `UsageError` for settings that do
    not fit both, `PlanError` for another network's masks, `CheckpointError` for a checkpoint that
    does not fit, `RunError` if the folder holds another run, the loss is not finite, memory does
    not suffice, a loader process dies or another process works in the run folder, and
    `InterruptedRunError` when stopped by Ctrl-C, SIGTERM or `stop`, which is asked after every
    step, once the checkpoint is written.
    """
    model = trainable(network, training, validation, config, world)
    reporter = reporter if world.is_first else SILENT
    log = tensorboard_log(run, config.protocol) if tensorboard and world.is_first else None
    with world.locked(run):
        steps = len(training.images) // config.batch_size
        if not resume and (run / CHECKPOINT).exists():
            raise RunError(
                f"{run} holds a run: give `resume` to continue it, or choose another folder"
            )
        inputs = {
            "training set": fingerprint(training),
            "validation set": "none" if validation is None else fingerprint(validation),
            "teacher": "none" if teacher is None else _digest(teacher),
        }
        if masks is not None:
            arrays = apply_masks(network.graph, network.parameters, masks)
            model = replace(model, parameters=arrays)
            inputs["weight masks"] = masks.digest()
        loop = Loop(model, config, world, steps, teacher, inputs, masks)
        capture(loop)
        if resume:
            loop.restore(run)
        elif world.is_first:
            counts = {"training_images": len(training.images)}
            write_settings(run, config, counts | {"inputs": inputs})
        if world.is_first:
            for name in ("best", "last"):
                write_names(run / f"{name}.names", training.names)
        if config.sparsity and not resume:
            loop.check_sparsity(reporter)
        images = _images(loop, training, reporter)
        # Every epoch has loader processes of its own, and would tell the same again.
        once = WarnsOnce(reporter)
        shown = _State(loop)
        first = loop.position.epoch * steps + loop.position.step
        ticks = reporter.track(range(first, config.epochs * steps), "training", state=shown.text)
        # Among others, SIGTERM says that one has failed: nobody is left to take a step with.
        signals = (signal.SIGINT, signal.SIGTERM) if world.size == 1 else (signal.SIGINT,)
        with stop_flag(*signals) as stopped, closing(ticks):
            while loop.position.epoch < config.epochs:
                _train_epoch(loop, images, run, ticks, shown, once, stopped, stop)
                _finish_epoch(loop, validation, run)
                reporter.say(_epoch_line(loop.log[-1], config))
                if log is not None:
                    log(loop.log[-1])
            # The last step is done too.
            next(ticks, None)
        return loop.log


def trainable(
    network: Model,
    training: Dataset,
    validation: Dataset | None,
    config: TrainingConfig,
    world: World,
) -> Model:
    """The network at the run's input size; raises what `train` says if it cannot be trained."""
    height, width = config.input_size
    spec = darknet(network).spec
    trainable_heads(spec)
    darknet_input(spec)
    if len(training.images) < config.batch_size:
        raise UsageError(
            f"{len(training.images)} training images are fewer than one batch of "
            f"{config.batch_size}: choose a smaller `batch_size`"
        )
    if config.accumulate % world.size:
        raise UsageError(
            f"`accumulate` {config.accumulate} must be a multiple of the {world.size} processes"
        )
    for part, dataset in (("training", training), ("validation", validation)):
        if dataset is not None and not dataset.object_count:
            raise DatasetError(f"none of the {len(dataset.images)} {part} images has an object")
    try:
        return for_input_size(network, height, width)
    except CfgError as error:
        raise UsageError(
            f"the network cannot read images of {width}x{height} ({error}): "
            "choose an `image_size` that is a multiple of 32"
        ) from error


class _State:
    """How a run goes, in words."""

    def __init__(self, loop: Loop) -> None:
        self.loop = loop
        self.loss: float | None = None
        self.images, self.begun = 0, time.monotonic()

    def add(self, loss: float) -> None:
        """A step with this loss is done."""
        self.loss = loss if self.loss is None else 0.95 * self.loss + 0.05 * loss
        self.images += self.loop.config.batch_size

    def text(self) -> str:
        """Epoch, smoothed loss, the best mAP so far, images a second."""
        config, best = self.loop.config, self.loop.best
        parts = [f"epoch {min(self.loop.position.epoch + 1, config.epochs)}/{config.epochs}"]
        if self.loss is not None:
            parts.append(f"loss {self.loss:.2f}")
        if best >= 0:
            parts.append(f"mAP@0.5 ({config.protocol}) {best:.3f}")
        if config.sparsity:
            parts.append(f"{zero_share(self.loop.scales):.1%} of channels 0")
        parts.append(f"{self.images / max(1e-9, time.monotonic() - self.begun):.0f} images/s")
        return ", ".join(parts)


def _epoch_line(line: dict[str, Any], config: TrainingConfig) -> str:
    accuracy = ""
    if line["map50"] is not None:
        accuracy = f", mAP@0.5 ({config.protocol}) {line['map50']:.4f}"
    return f"epoch {line['epoch']}/{config.epochs}: loss {sum(line['loss'].values()):.3f}{accuracy}"


def _digest(network: Model) -> str:
    """SHA-256 over a network's layers and weights."""
    digest = hashlib.sha256(network.document.digest().encode())
    for name in network.graph.parameters:
        digest.update(raw_bytes(network.parameters[name]))
    return digest.hexdigest()


def _train_epoch(
    loop: Loop,
    images: DeviceImages | TrainingImages,
    run: Path,
    ticks: Generator[int, None, None],
    shown: "_State",
    reporter: Reporter,
    stopped: Callable[[], int],
    stop: Callable[[], bool],
) -> None:
    config, world = loop.config, loop.world
    own = config.accumulate // world.size
    making = _batches(
        images,
        config,
        own_parts=range(world.rank * own, (world.rank + 1) * own),
        position=loop.position,
        reporter=reporter,
    )
    waiting: deque[tuple[int, Callable[[], tuple[float, ...]]]] = deque()

    def account(most: int) -> None:
        """Take note of all steps but the last few, `most` of them."""
        while len(waiting) > most:
            done, told = waiting.popleft()
            losses = told()
            sums = tuple(a + b for a, b in zip(loop.position.sums, losses, strict=True))
            loop.position = Position(epoch=loop.position.epoch, step=done, sums=sums)
            shown.add(sum(losses))

    # No loader process outlives the epoch, whatever ends it.
    with closing(making) as batches:
        for step in range(loop.position.step, loop.steps_per_epoch):
            next(ticks)
            try:
                step_batches = [next(batches) for _ in range(own)]
            except RunError as error:
                if not (loop.steps and world.is_first):
                    raise
                # Nothing is wrong with the network: what it has learned so far is kept.
                account(0)
                loop.save(run)
                raise RunError(f"{error}; the run can be resumed") from error
            if loop.steps == 0 and world.is_first:
                write_batch_picture(run, step_batches[0])
            waiting.append((step + 1, training_step(loop, step_batches)))
            account(STEPS_AHEAD[world.device.type])
            number = stopped()
            stopping = world.agree(bool(number) or stop())
            if stopping or loop.unsaved > 60 * config.checkpoint_minutes:
                account(0)
                loop.save(run)
            if stopping:
                raise InterruptedRunError(number)
        account(0)


def _finish_epoch(loop: Loop, validation: Dataset | None, run: Path) -> None:
    config, world, position = loop.config, loop.world, loop.position
    world.average_buffers(loop.network)
    world.average_buffers(loop.average)
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
    if validation is not None and (epoch % config.evaluate_every == 0 or epoch == config.epochs):
        line["map50"] = world.on_first(
            lambda: (
                evaluate(
                    network_detector(loop.spec, loop.average), validation, config.protocol
                ).map50
            )
        )
    accuracy = -1.0 if line["map50"] is None else line["map50"]
    better = validation is None or accuracy > loop.best
    loop.best = max(loop.best, accuracy)
    loop.log.append(line)
    loop.position = Position(epoch=epoch, step=0, sums=(0.0,) * len(TERMS))
    world.on_first(lambda: _write_epoch(loop, run, better))


def _images(loop: Loop, training: Dataset, reporter: Reporter) -> DeviceImages | TrainingImages:
    """The training images: on the GPU where they fit there, else in the processor's memory."""
    config, device = loop.config, loop.world.device
    channels = darknet_input(loop.spec).channels
    if device.type == "cuda":
        longest = max(config.input_size)
        free, needed = torch.cuda.mem_get_info(device)[0], memory(training, longest, channels)
        if needed <= FREE_SHARE * free:
            return DeviceImages(
                training,
                augment=config.augment,
                mosaic=config.mosaic,
                seed=config.seed,
                channels=channels,
                longest=longest,
                device=device,
            )
        reporter.say(
            f"{len(training.images)} images of {longest} pixels take {needed / 2**30:.1f} GiB: "
            "more than the GPU can spare, so that loader processes augment them"
        )
    images = TrainingImages(
        training,
        augment=config.augment,
        mosaic=config.mosaic,
        seed=config.seed,
        channels=channels,
    )
    images.fill_cache()
    return images


def _batches(
    images: DeviceImages | TrainingImages,
    config: TrainingConfig,
    *,
    own_parts: range,
    position: Position,
    reporter: Reporter,
) -> Generator[Batch, None, None]:
    """This process's micro-batches of the rest of an epoch."""
    if isinstance(images, DeviceImages):
        making: Callable[..., Generator[Batch, None, None]] = images.batches
    else:
        making = partial(micro_batches, images, workers=config.workers, reporter=reporter)
    return making(
        batch_size=config.batch_size,
        parts=config.accumulate,
        own_parts=own_parts,
        epoch=position.epoch,
        first_step=position.step,
        base_size=config.input_size,
        multi_scale=config.multi_scale,
    )


def _write_epoch(loop: Loop, run: Path, better: bool) -> None:
    seen = loop.steps * loop.config.batch_size
    finished = loop.position.epoch == loop.config.epochs
    if better or finished:
        arrays = {name: array.cpu() for name, array in loop.average.state().items()}
        network = replace(loop.model, parameters=arrays)
        for name in ["best"] * better + ["last"] * finished:
            write_network(run, name, network, seen)
    evaluated = loop.log[-1]["map50"] is not None
    if finished or (evaluated and len(loop.log) > 1 and not drawn_lately(run)):
        write_curves(run, loop.log, loop.config.protocol)
    # The log first: a finished run would not write it again.
    write_log(run, loop.log)
    if finished or loop.world.device.type == "cpu" or loop.unsaved > GPU_CHECKPOINT_SECONDS:
        loop.save(run)
