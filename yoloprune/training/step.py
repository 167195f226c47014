"""One step: micro-batches, their gradients averaged over all processes, one optimizer step.

After the optimizer's step come the proximal step of the sparsity term and the moving average.
"""

import math
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from yoloprune.data.loader import Batch
from yoloprune.devices import to_device
from yoloprune.errors import RunError
from yoloprune.memory import is_out_of_memory
from yoloprune.training.assign import Objects, assign
from yoloprune.training.captured import CapturedPass
from yoloprune.training.distill import distillation_loss
from yoloprune.training.loop import TERMS, Loop
from yoloprune.training.loss import detection_loss, trainable_heads
from yoloprune.training.memory import largest_fitting
from yoloprune.training.regularize import shrink
from yoloprune.training.targets import Targets, targets

SMALLEST_SCALE = 2.0**-10
"""Of a float16 loss: where gradients overflow even so, they are not finite."""

_HALF = {"bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Prepared:
    """A micro-batch with what the heads are to answer, and how many positives that is."""

    batch: Batch
    targets: Targets
    positives: int


def capture(loop: Loop) -> None:
    """Let the passes of a lone process on a GPU be recorded, unless torch.compile makes them."""
    alone = loop.world.size == 1 and loop.world.device.type == "cuda"
    if alone and not loop.config.compiled:
        loop.captured = CapturedPass(loop.network, partial(gradients, loop))


def training_step(loop: Loop, batches: list[Batch]) -> Callable[[], tuple[float, ...]]:
    """Train on this process's micro-batches of a step; returns what gives the loss terms of all.

    A GPU is not waited for: whoever asks for the terms waits until this step is done. Raises
    `RunError` where memory does not suffice, and where the loss is not finite, of a step on a GPU
    when its terms are asked for: then the network is to be taken from the last checkpoint.
    """
    config, world = loop.config, loop.world
    rate = loop.learning_rate
    for group in loop.optimizer.param_groups:
        group["lr"] = rate
    prepared = [_prepare(loop, batch) for batch in batches]
    count = sum(own.positives for own in prepared)
    # No fewer than the images: a batch with hardly an object would outweigh all others.
    normalizer = max(float(config.batch_size), world.total([float(count)])[0])
    # Recorded passes add to gradients that stay where they are.
    loop.optimizer.zero_grad(set_to_none=loop.captured is None)
    terms = torch.zeros(len(TERMS), device=world.device)
    for number, own in enumerate(prepared):
        last = number == len(prepared) - 1
        # Processes exchange gradients once a step, after the last micro-batch.
        with nullcontext() if last or world.size == 1 else loop.parallel.no_sync():  # type: ignore[operator]
            terms += _backward(loop, own, normalizer)
    loop.hold_zeros()
    loop.scaler.unscale_(loop.optimizer)
    norm = nn.utils.clip_grad_norm_(loop.network.parameters(), config.clip_norm)
    told = _checked(loop, terms, norm)
    if world.device.type == "cpu":
        # Before the optimizer's step, which would make every weight NaN.
        totals = told()
        told = lambda: totals  # noqa: E731
    if _optimizer_step(loop) and config.sparsity:
        shrink(loop.scales, loop.shrinkage)
    loop.update_average()
    loop.steps += 1
    return told


def _checked(loop: Loop, terms: Tensor, norm: Tensor) -> Callable[[], tuple[float, ...]]:
    """What waits for the terms of the step at hand and checks them, and the gradient's norm."""
    steps, arrived = loop.steps, None
    values = torch.cat((terms, norm.reshape(1).to(terms.dtype)))
    if values.device.type == "cuda":
        # Copied now: later the copy would queue behind the next step.
        values = torch.empty_like(values, device="cpu", pin_memory=True).copy_(
            values, non_blocking=True
        )
        arrived = torch.cuda.current_stream(loop.world.device).record_event()

    def told() -> tuple[float, ...]:
        if arrived is not None:
            arrived.synchronize()
        *own, length = values.tolist()
        totals = loop.world.total(own)
        if not all(math.isfinite(value) for value in totals):
            named = (f"{name} {value:.4g}" for name, value in zip(TERMS, totals, strict=True))
            raise _diverged(loop, steps, f"the loss is not finite ({', '.join(named)})")
        if not loop.scaler.is_enabled() and not math.isfinite(length):
            raise _diverged(loop, steps, f"the gradient's norm is {length}")
        return tuple(totals)

    return told


def _optimizer_step(loop: Loop) -> bool:
    """Whether the weights were changed: float16 leaves out a step whose gradients overflowed."""
    before = loop.scaler.get_scale()
    try:
        loop.scaler.step(loop.optimizer)
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        # The first step makes the optimizer's own tensors.
        raise RunError(
            "out of memory for the optimizer: choose a smaller `batch_size` or larger `accumulate`"
        ) from error
    loop.scaler.update()
    after = loop.scaler.get_scale()
    if after < SMALLEST_SCALE:
        raise _diverged(
            loop, loop.steps, "float16 gradients overflow at every scale (bfloat16 does not)"
        )
    return after >= before


def _diverged(loop: Loop, steps: int, what: str) -> RunError:
    epoch, step = divmod(steps, loop.steps_per_epoch)
    return RunError(
        f"{what} at epoch {epoch + 1}, step {step + 1}: start again with a lower `learning_rate`"
    )


def _backward(loop: Loop, own: _Prepared, normalizer: float) -> Tensor:
    """Add a micro-batch's gradients; returns its loss terms."""
    try:
        return _add_gradients(loop, own, normalizer)
    except (MemoryError, RuntimeError) as error:
        if type(error).__module__.startswith(("torch._dynamo", "torch._inductor")):
            reason = str(error).strip().splitlines()[0]
            raise RunError(f"torch.compile failed ({reason}): run without `compiled`") from error
        if not is_out_of_memory(error):
            raise
    # Out of the handler, for the exception holds on to the memory that the trials need.
    raise _out_of_memory(loop, own.batch)


def _add_gradients(loop: Loop, own: _Prepared, normalizer: float) -> Tensor:
    device = loop.world.device
    total = torch.tensor(normalizer)
    given = (own.batch.images, *own.targets.tensors(), total)
    inputs = [to_device(tensor, device) for tensor in given]
    return (loop.captured or partial(gradients, loop))(*inputs)


def gradients(loop: Loop, images: Tensor, *others: Tensor) -> Tensor:
    """Add those of a micro-batch, from what `Targets.tensors` gives and the loss's divisor.

    Returns the loss terms. Nothing here waits for a GPU.
    """
    *wanted, normalizer = others
    losses = _losses(loop, loop.forward, images, Targets.of(wanted), normalizer)
    # Gradients are averaged over the processes, the loss is a sum over them.
    torch.autograd.backward(loop.scaler.scale(losses.sum() * loop.world.size))
    return losses.detach().float()


def _out_of_memory(loop: Loop, batch: Batch) -> RunError:
    """Says how many images would have fitted, found by trying."""
    loop.optimizer.zero_grad(set_to_none=True)

    def attempt(count: int) -> None:
        own = batch.image < count
        few = Batch(
            images=batch.images[:count],
            image=batch.image[own],
            label=batch.label[own],
            boxes=batch.boxes[own],
        )
        # Not through `parallel`: the other processes know nothing of this.
        wanted = _prepare(loop, few).targets.on(loop.world.device)
        images = to_device(few.images, loop.world.device)
        torch.autograd.backward(_losses(loop, loop.network, images, wanted, 1.0).sum())
        loop.optimizer.zero_grad(set_to_none=True)

    failed, (height, width) = len(batch.images), batch.images.shape[2:]
    fits = largest_fitting(attempt, failed)
    problem = f"out of memory with {failed} images of {width}x{height} at once"
    if not fits:
        return RunError(f"{problem}, and with a single one: choose a smaller `image_size`")
    accumulate, batch_size = loop.config.accumulate, loop.config.batch_size
    parts = accumulate * -(-failed // fits)
    while batch_size % parts or parts % loop.world.size:
        parts += 1
    return RunError(
        f"{problem}; {fits} fit: give `batch_size` {fits * accumulate}, or `accumulate` {parts} to "
        f"split a batch of {batch_size}"
    )


def _prepare(loop: Loop, batch: Batch) -> _Prepared:
    height, width = batch.images.shape[2:]
    heads, grids = trainable_heads(loop.spec), loop.grids(height, width)
    objects = Objects(image=batch.image, label=batch.label, boxes=batch.boxes)
    positives = assign(heads, objects, grids, (height, width))
    ready = partial(targets, heads, grids, objects, positives, len(batch.images))
    wanted = ready(room=loop.room)
    if loop.make_room(wanted):
        wanted = ready(room=loop.room)
    count = sum(len(own.target) for own in positives)
    return _Prepared(batch=batch, targets=wanted, positives=count)


def _losses(
    loop: Loop,
    network: Callable[[Tensor], Sequence[Tensor]],
    images: Tensor,
    wanted: Targets,
    normalizer: float | Tensor,
) -> Tensor:
    """The loss terms of images (B, C, H, W) uint8 on the device, in the order of `TERMS`."""
    config = loop.config
    images = images.float().div_(255).contiguous(memory_format=torch.channels_last)
    half = _HALF.get(config.precision)
    # Every kernel is read once: a cache of what it was cast to would only hold memory.
    with torch.autocast(
        images.device.type, dtype=half, enabled=half is not None, cache_enabled=False
    ):
        maps = network(images)
        teacher_maps = None
        if loop.teacher is not None:
            with torch.no_grad():
                teacher_maps = loop.teacher(images)
    size = (images.shape[2], images.shape[3])
    heads = trainable_heads(loop.spec)
    loss = detection_loss(heads, maps, wanted, size, normalizer)
    distillation = maps[0].new_zeros((), dtype=torch.float32)
    if teacher_maps is not None:
        distillation = config.distillation * distillation_loss(
            heads, maps, teacher_maps, normalizer
        )
    return torch.stack([loss.box, loss.objectness, loss.classes, distillation])
