"""Where the windows of convolutions and pools lie."""

from dataclasses import dataclass

from yoloprune.graph.graph import Node
from yoloprune.graph.operators.operator import (
    Shape,
    integer,
    integers,
    refused,
    text,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Windows:
    """Windows along each spatial axis; `beyond` is what the last reaches over the padding."""

    kernel: Shape
    strides: Shape
    dilations: Shape
    before: Shape
    after: Shape
    sizes: Shape
    beyond: Shape

    @property
    def even(self) -> bool:
        """Whether both sides are padded alike."""
        return self.before == self.after

    def border(self, *, beyond: bool = False) -> list[int]:
        """The padding as torch wants it: from the last axis to the first."""
        after = self.after
        if beyond:
            after = tuple(a + b for a, b in zip(after, self.beyond, strict=True))
        pairs = zip(reversed(self.before), reversed(after), strict=True)
        return [side for pair in pairs for side in pair]


def windows(node: Node, spatial: Shape, kernel: Shape) -> Windows:
    """The windows of a node over spatial axes of these sizes.

    Raises `GraphError` where kernel and padding do not fit.
    """
    rank = len(spatial)
    strides = integers(node, "strides") or (1,) * rank
    dilations = integers(node, "dilations") or (1,) * rank
    pads = integers(node, "pads") or (0,) * (2 * rank)
    if not len(kernel) == len(strides) == len(dilations) == len(pads) // 2 == rank:
        raise refused(node, f"has windows that are not of {rank} axes")
    automatic = text(node, "auto_pad", "NOTSET")
    before, after, sizes, beyond = [], [], [], []
    for axis, size in enumerate(spatial):
        stride = strides[axis]
        reach = (kernel[axis] - 1) * dilations[axis] + 1
        if automatic in ("SAME_UPPER", "SAME_LOWER"):
            count = -(-size // stride)
            total = max((count - 1) * stride + reach - size, 0)
            low = total // 2 if automatic == "SAME_UPPER" else total - total // 2
            high = total - low
        else:
            low, high = (0, 0) if automatic == "VALID" else (pads[axis], pads[rank + axis])
            room = size + low + high - reach
            if room < 0:
                raise refused(node, f"has a window of {reach} over {size + low + high}")
            count = room // stride + 1
            # A window that began in the padding at the end would see nothing at all.
            if (
                integer(node, "ceil_mode", 0)
                and automatic == "NOTSET"
                and room % stride
                and count * stride < size + low
            ):
                count += 1
        before.append(low)
        after.append(high)
        sizes.append(count)
        beyond.append(max((count - 1) * stride + reach - size - low - high, 0))
    return Windows(
        kernel=kernel,
        strides=strides,
        dilations=dilations,
        before=tuple(before),
        after=tuple(after),
        sizes=tuple(sizes),
        beyond=tuple(beyond),
    )


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
    automatic = text(node, "auto_pad", "NOTSET")
    if not wanted and automatic in ("SAME_UPPER", "SAME_LOWER"):
        wanted = tuple(size * stride for size, stride in zip(spatial, strides, strict=True))
    before, after, sizes = [], [], []
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
        sizes.append(full - low - high)
    return SpreadWindows(
        strides=strides,
        dilations=dilations,
        before=tuple(before),
        after=tuple(after),
        extra=extra,
        sizes=tuple(sizes),
    )
