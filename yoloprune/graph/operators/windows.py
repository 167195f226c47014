"""Where the windows of convolutions and pools lie."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from yoloprune.graph.graph import Node
from yoloprune.graph.operators.operator import (
    Shape,
    integer,
    integers,
    refused,
    text,
)

LARGEST_ROOM = 1 << 28
"""Places of a channel, padded, or spread by a transposed convolution."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """The shape of windows along each spatial axis, and the padding that they move over."""

    kernel: Shape
    strides: Shape
    dilations: Shape
    before: Shape
    after: Shape

    @property
    def even(self) -> bool:
        """Whether both sides are padded alike."""
        return self.before == self.after

    def border(self, beyond: Shape = ()) -> list[int]:
        """The padding and what lies beyond it, as torch wants them: the last axis first."""
        more = beyond or (0,) * len(self.after)
        sides = list(zip(self.before, self.after, more, strict=True))
        return [side for low, high, rest in reversed(sides) for side in (low, high + rest)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Windows(Frame):
    """Windows and how many there are; `beyond` is what the last reaches over the padding."""

    sizes: Shape
    beyond: Shape


def frame(node: Node, spatial: Shape, kernel: Shape) -> Frame:
    """The windows of a node; only automatic padding depends on the axes' sizes."""
    rank = len(spatial)
    strides = integers(node, "strides") or (1,) * rank
    dilations = integers(node, "dilations") or (1,) * rank
    pads = integers(node, "pads") or (0,) * (2 * rank)
    if not len(kernel) == len(strides) == len(dilations) == len(pads) // 2 == rank:
        raise refused(node, f"has windows that are not of {rank} axes")
    if min((1, *kernel, *strides, *dilations)) < 1:
        raise refused(node, "has windows of no size, or that do not move")
    automatic = text(node, "auto_pad", "NOTSET")
    before, after = (0,) * rank, (0,) * rank
    if automatic in ("SAME_UPPER", "SAME_LOWER"):
        axes = zip(spatial, strides, _reaches(kernel, dilations), strict=True)
        totals = [max((-(-n // stride) - 1) * stride + reach - n, 0) for n, stride, reach in axes]
        less = tuple(total // 2 for total in totals)
        more = tuple(total - total // 2 for total in totals)
        before, after = (less, more) if automatic == "SAME_UPPER" else (more, less)
    elif automatic != "VALID":
        before, after = pads[:rank], pads[rank:]
    return Frame(kernel=kernel, strides=strides, dilations=dilations, before=before, after=after)


def windows(node: Node, spatial: Shape, kernel: Shape) -> Windows:
    """The windows of a node over spatial axes of these sizes.

    Raises `GraphError` where kernel and padding do not fit.
    """
    found = frame(node, spatial, kernel)
    rounded_up = ceils(node)
    sizes, beyond = [], []
    reaches = _reaches(found.kernel, found.dilations)
    axes = zip(spatial, found.strides, reaches, found.before, found.after, strict=True)
    for size, stride, reach, low, high in axes:
        room = size + low + high - reach
        if room < 0:
            raise refused(node, f"has a window of {reach} over {size + low + high}")
        count = room // stride + 1
        # A window that began in the padding at the end would see nothing at all.
        if rounded_up and room % stride and count * stride < size + low:
            count += 1
        sizes.append(count)
        beyond.append(max((count - 1) * stride + reach - size - low - high, 0))
    _check_room(node, (sum(n) for n in zip(spatial, found.before, found.after, strict=True)))
    return Windows(
        kernel=found.kernel,
        strides=found.strides,
        dilations=found.dilations,
        before=found.before,
        after=found.after,
        sizes=tuple(sizes),
        beyond=tuple(beyond),
    )


def _check_room(node: Node, sizes: Iterable[int]) -> None:
    """Refuse what a node would have to lay out before it moves its windows over it."""
    if (room := math.prod(max(1, size) for size in sizes)) > LARGEST_ROOM:
        raise refused(node, f"has windows over {room} places, more than any network needs")


def ceils(node: Node) -> bool:
    """Whether a last window may reach over the padding."""
    return bool(integer(node, "ceil_mode", 0)) and text(node, "auto_pad", "NOTSET") == "NOTSET"


def _reaches(kernel: Shape, dilations: Shape) -> list[int]:
    return [(side - 1) * dilation + 1 for side, dilation in zip(kernel, dilations, strict=True)]


@dataclass(frozen=True, slots=True, kw_only=True)
class SpreadWindows:
    """Windows of a transposed convolution; `before` and `after` are cut off its full output."""

    strides: Shape
    dilations: Shape
    before: Shape
    after: Shape
    extra: Shape
    sizes: Shape


def spread_windows(node: Node, spatial: Shape, kernel: Shape) -> SpreadWindows:
    """The windows of a transposed convolution over spatial axes of these sizes."""
    rank = len(spatial)
    strides = integers(node, "strides") or (1,) * rank
    dilations = integers(node, "dilations") or (1,) * rank
    extra = integers(node, "output_padding") or (0,) * rank
    pads = integers(node, "pads") or (0,) * (2 * rank)
    wanted = integers(node, "output_shape")[-rank:]
    told = (kernel, strides, dilations, extra, wanted or spatial)
    if len(pads) != 2 * rank or any(len(numbers) != rank for numbers in told):
        raise refused(node, f"has windows that are not of {rank} axes")
    if min((1, *kernel, *strides, *dilations)) < 1:
        raise refused(node, "has windows of no size, or that do not move")
    automatic = text(node, "auto_pad", "NOTSET")
    if not wanted and automatic in ("SAME_UPPER", "SAME_LOWER"):
        wanted = tuple(size * stride for size, stride in zip(spatial, strides, strict=True))
    before, after, sizes, spread = [], [], [], []
    for axis, size in enumerate(spatial):
        reach = (kernel[axis] - 1) * dilations[axis] + 1
        full = (size - 1) * strides[axis] + extra[axis] + reach
        if wanted:
            total = max(full - wanted[axis], 0)
            low = total // 2 if automatic == "SAME_UPPER" else total - total // 2
            high = full - wanted[axis] - low
        else:
            low, high = (0, 0) if automatic == "VALID" else (pads[axis], pads[rank + axis])
        before.append(low)
        after.append(high)
        spread.append(full)
        sizes.append(full - low - high)
    _check_room(node, spread)
    return SpreadWindows(
        strides=strides,
        dilations=dilations,
        before=tuple(before),
        after=tuple(after),
        extra=extra,
        sizes=tuple(sizes),
    )
