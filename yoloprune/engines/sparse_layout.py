"""Where a convolution finds its pixels and weights: flat planes, tiles, lists of non-zeros."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from yoloprune.graph.graph import Node
from yoloprune.graph.operators.operator import Shape, integer, integers, text

BLOCK_FLOATS = 8192
"""Input floats that a tile may read before the next filter: they fit into the innermost cache."""

BLOCK_NONZEROS = 16
"""Non-zeros of a filter that a block of channels should have at least."""

MOST_FILLED = 1.25
"""Multiply-adds, per non-zero, up to which filters are computed together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A convolution of F `filters` with a square window that moves over evenly padded images."""

    filters: int
    size: int
    stride_y: int
    stride_x: int
    padding: int
    dilation: int
    groups: int

    @classmethod
    def of(cls, node: Node, kernel: Shape) -> "Window | None":
        """That of a `Conv` with a kernel of this shape, or None for one that is of no such kind."""
        pads, dilations = set(integers(node, "pads", (0,))), set(integers(node, "dilations", (1,)))
        sizes = set(kernel[2:])
        padded = text(node, "auto_pad", "NOTSET") not in ("NOTSET", "VALID")
        if len(kernel) != 4 or padded or max(map(len, (pads, dilations, sizes))) > 1:
            return None
        stride_y, stride_x = integers(node, "strides", (1, 1))
        return cls(
            filters=kernel[0],
            size=sizes.pop(),
            stride_y=stride_y,
            stride_x=stride_x,
            padding=pads.pop(),
            dilation=dilations.pop(),
            groups=integer(node, "group", 1),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Geometry:
    """The flat planes of a convolution's input, and where its output lies in them.

    `planes` is (C, stride_y, stride_x, rows, pitch); output (y, x) is at y * pitch + x.
    """

    planes: tuple[int, int, int, int, int]
    height: int
    width: int

    @classmethod
    def of(cls, conv: Window, shape: Shape) -> "Geometry":
        """That of a convolution over (C, H, W)."""
        channels, *sides = shape
        reach = conv.dilation * (conv.size - 1)
        strides = (conv.stride_y, conv.stride_x)
        height, width = (
            (side + 2 * conv.padding - reach - 1) // stride + 1
            for side, stride in zip(sides, strides, strict=True)
        )
        rows, pitch = height + reach // strides[0], width + reach // strides[1]
        if conv.stride_x == 1:
            # The zeros right of a row are those left of the next one.
            pitch -= min(conv.padding, reach)
        return cls(planes=(channels, *strides, rows, pitch), height=height, width=width)

    @property
    def pitch(self) -> int:
        """Floats a row."""
        return self.planes[-1]

    @property
    def end(self) -> int:
        """Pixels of the output in the flat planes, from the first to the last one."""
        return (self.height - 1) * self.pitch + self.width


def unit_size(conv: Window, kernel: NDArray[np.float32], together: int) -> int:
    """How many consecutive filters to compute together: `together`, or 1.

    Where few of them have a non-zero in the same place, zeros would be multiplied.
    """
    if conv.filters // conv.groups % together and conv.groups > 1:
        return 1
    starts = np.arange(0, conv.filters, together)
    union = np.logical_or.reduceat(kernel != 0, starts, axis=0)
    nonzero = np.count_nonzero(kernel)
    return together if together * np.count_nonzero(union) <= MOST_FILLED * nonzero else 1


def nonzeros(
    conv: Window, kernel: NDArray[np.float32], plan: Geometry, tile: int, together: int
) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.float32]]:
    """Non-zeros by block of channels, then unit of filters, then place in the input.

    Returns the start of each (block, unit), the offsets of all places where a unit has a non-zero,
    and its filters' values there.
    """
    units = -(-conv.filters // together)
    kernel = np.pad(kernel, ((0, units * together - conv.filters), (0, 0), (0, 0), (0, 0)))
    values = kernel.reshape(units, together, -1).swapaxes(1, 2).reshape(-1, together)
    places = np.flatnonzero(values.any(axis=1))
    values = values[places]
    rest, x = np.divmod(places, conv.size)
    rest, y = np.divmod(rest, conv.size)
    unit, channel = np.divmod(rest, kernel.shape[1])
    _, stride_y, stride_x, rows, pitch = plan.planes
    y, x = y * conv.dilation, x * conv.dilation
    group = unit * together // (conv.filters // conv.groups)
    plane = (group * kernel.shape[1] + channel) * stride_y + y % stride_y
    plane = plane * stride_x + x % stride_x
    offsets = (plane * rows + y // stride_y) * pitch + x // stride_x
    # Of each channel a tile reads itself and the rows that its window reaches down to.
    per_channel = tile + conv.dilation * (conv.size - 1) * pitch
    fitting = BLOCK_FLOATS // per_channel
    # With few non-zeros, loading and storing the sums would take longer than the cache saves.
    worthwhile = BLOCK_NONZEROS * kernel.shape[1] * units // max(1, len(places))
    in_block = max(1, fitting, min(worthwhile, kernel.shape[1]))
    blocks = -(-kernel.shape[1] // in_block)
    bins = channel // in_block * units + unit
    order = np.argsort(bins, kind="stable")
    ends = np.cumsum(np.bincount(bins, minlength=blocks * units))
    starts = np.concatenate([[0], ends])
    rows_of_starts = np.arange(blocks)[:, None] * units + np.arange(units + 1)
    return (
        starts[rows_of_starts].astype(np.int64),
        offsets[order].astype(np.int32),
        values[order].reshape(-1),
    )


def tile_starts(end: int, tile: int, small: int) -> tuple[NDArray[np.int64], bool]:
    """First pixels of the tiles that cover `end` pixels, and whether the last one is small.

    The last one overlaps the one before it rather than reading beyond the end.
    """
    full, rest = divmod(end, tile)
    starts = [number * tile for number in range(full)]
    is_small = 0 < rest <= small
    if rest:
        starts.append(max(0, end - (small if is_small else tile)))
    return np.array(starts, np.int64), is_small
