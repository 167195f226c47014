"""Operators that take elements elsewhere, unchanged; torch runs them on labels too.

Each has one way to read its node, which gives plain numbers to the shape rule and to torch.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from yoloprune.graph.graph import Node
from yoloprune.graph.operators.operator import (
    Arrays,
    Compute,
    Family,
    Operator,
    Shape,
    ShapeRule,
    Shapes,
    Tensors,
    at,
    axis_of,
    given,
    integer,
    integers,
    known_integers,
    present,
    refused,
    text,
)
from yoloprune.graph.operators.rules import as_first, broadcast
from yoloprune.graph.operators.tensors import together, told

LARGEST_BORDER = 1 << 20
"""Elements by which an axis may be padded with what it holds."""


def _reshaped(node: Node, shape: Shape, target: Sequence[int]) -> Shape:
    kept = not integer(node, "allowzero", 0)
    if kept and any(size == 0 for size in target[len(shape) :]):
        raise refused(node, f"keeps a size of {shape} that is not there")
    sizes = [shape[i] if size == 0 and kept else size for i, size in enumerate(target)]
    rest = math.prod([size for size in sizes if size != -1])
    count = math.prod(shape)
    if -1 in sizes and rest:
        sizes[sizes.index(-1)] = count // rest
    if math.prod(sizes) != count or -1 in sizes:
        raise refused(node, f"cannot turn {shape} into {tuple(target)}")
    return tuple(sizes)


def _reshape_shape(node: Node, shapes: Shapes, known: Arrays, opset: int) -> tuple[Shape, ...]:
    return (_reshaped(node, given(node, shapes, 0), known_integers(node, known, 1)),)


def _reshape(node: Node, inputs: Tensors, opset: int) -> tuple[Tensor, ...]:
    x = given(node, inputs, 0)
    return (x.reshape(_reshaped(node, tuple(x.shape), told(node, inputs, 1, "shape"))),)


def _flattened(node: Node, shape: Shape) -> Shape:
    axis = integer(node, "axis", 1)
    if not -len(shape) <= axis <= len(shape):
        raise refused(node, f"has axis {axis}, of {len(shape)}")
    axis += len(shape) if axis < 0 else 0
    return math.prod(shape[:axis]), math.prod(shape[axis:])


def _flatten_shape(node: Node, shapes: Shapes, known: Arrays, opset: int) -> tuple[Shape, ...]:
    return (_flattened(node, given(node, shapes, 0)),)


def _flatten(node: Node, inputs: Tensors, opset: int) -> tuple[Tensor, ...]:
    x = given(node, inputs, 0)
    return (x.reshape(_flattened(node, tuple(x.shape))),)


def _order(node: Node, rank: int) -> Shape:
    order = integers(node, "perm") or tuple(reversed(range(rank)))
    if sorted(order) != list(range(rank)):
        raise refused(node, f"has the order {order} of {rank} axes")
    return order


def _transpose_shape(node: Node, shapes: Shapes, known: Arrays, opset: int) -> tuple[Shape, ...]:
    shape = given(node, shapes, 0)
    return (tuple(shape[axis] for axis in _order(node, len(shape))),)


def _transpose(node: Node, inputs: Tensors, opset: int) -> tuple[Tensor, ...]:
    x = given(node, inputs, 0)
    return (x.permute(_order(node, x.dim())),)


def _squeezed(node: Node, shape: Shape, axes: Sequence[int] | None) -> Shape:
    if axes is None:
        return tuple(size for size in shape if size != 1)
    gone = {axis_of(node, axis, len(shape)) for axis in axes}
    if any(shape[axis] != 1 for axis in gone):
        raise refused(node, f"takes axes {tuple(axes)} off {shape}")
    return tuple(size for axis, size in enumerate(shape) if axis not in gone)


def _unsqueezed(node: Node, shape: Shape, axes: Sequence[int] | None) -> Shape:
    rank = len(shape) + len(axes or ())
    new = {axis_of(node, axis, rank) for axis in axes or ()}
    sizes = iter(shape)
    return tuple(1 if axis in new else next(sizes) for axis in range(rank))


def _axes(node: Node, found: Shape | None) -> Shape | None:
    """Axes as an attribute (before opset 13), or as an input."""
    return integers(node, "axes") if "axes" in node.attributes else found


def _squeeze_shape(node: Node, shapes: Shapes, known: Arrays, opset: int) -> tuple[Shape, ...]:
    found = known_integers(node, known, 1) if present(node, 1) else None
    return (_squeezed(node, given(node, shapes, 0), _axes(node, found)),)


def _squeeze(node: Node, inputs: Tensors, opset: int) -> tuple[Tensor, ...]:
    x = given(node, inputs, 0)
    found = told(node, inputs, 1) if present(node, 1) else None
    return (x.reshape(_squeezed(node, tuple(x.shape), _axes(node, found))),)


def _unsqueeze_shape(node: Node, shapes: Shapes, known: Arrays, opset: int) -> tuple[Shape, ...]:
    found = known_integers(node, known, 1) if present(node, 1) else None
    return (_unsqueezed(node, given(node, shapes, 0), _axes(node, found)),)


def _unsqueeze(node: Node, inputs: Tensors, opset: int) -> tuple[Tensor, ...]:
    x = given(node, inputs, 0)
    found = told(node, inputs, 1) if present(node, 1) else None
    return (x.reshape(_unsqueezed(node, tuple(x.shape), _axes(node, found))),)


def _parts(
    node: Node,
    shape: Shape,
    starts: Sequence[int],
    ends: Sequence[int],
    axes: Sequence[int] | None,
    steps: Sequence[int] | None,
) -> dict[int, range]:
    """What is taken along each axis that is cut."""
    axes = axes or tuple(range(len(starts)))
    steps = steps or (1,) * len(starts)
    if not len(starts) == len(ends) == len(axes) == len(steps) or 0 in steps:
        raise refused(node, "has bounds that do not fit one another")
    parts = {}
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        axis = axis_of(node, axis, len(shape))
        parts[axis] = range(*slice(start, end, step).indices(shape[axis]))
    return parts


def _slice_shape(node: Node, shapes: Shapes, known: Arrays, opset: int) -> tuple[Shape, ...]:
    shape = given(node, shapes, 0)
    bounds = [known_integers(node, known, i) if present(node, i) else None for i in (3, 4)]
    starts, ends = known_integers(node, known, 1), known_integers(node, known, 2)
    sizes = list(shape)
    for axis, part in _parts(node, shape, starts, ends, *bounds).items():
        sizes[axis] = len(part)
    return (tuple(sizes),)


def _slice(node: Node, inputs: Tensors, opset: int) -> tuple[Tensor, ...]:
    x = given(node, inputs, 0)
    bounds = [
        told(node, inputs, i, name) if present(node, i) or name in node.attributes else None
        for i, name in ((3, "axes"), (4, "steps"))
    ]
    starts, ends = told(node, inputs, 1, "starts"), told(node, inputs, 2, "ends")
    for axis, part in _parts(node, tuple(x.shape), starts, ends, *bounds).items():
        if part.step > 0:
            x = x[(slice(None),) * axis + (slice(part.start, part.stop, part.step),)]
        else:
            x = x.index_select(axis, torch.tensor(list(part), dtype=torch.int64, device=x.device))
    return (x,)


def _sizes(node: Node, size: int, sizes: Shape | None) -> Shape:
    """Sizes of the parts of an axis that is split."""
    sizes = integers(node, "split") or sizes
    count = len(node.outputs)
    if integer(node, "num_outputs", count) != count:
        raise refused(node, f"gives {count} values, not {integer(node, 'num_outputs', count)}")
    if not sizes:
        chunk = -(-size // count)
        sizes = (chunk,) * (count - 1) + (size - chunk * (count - 1),)
    if sum(sizes) != size or min(sizes) < 0:
        raise refused(node, f"splits {size} into {sizes}")
    return sizes


def _split_shape(node: Node, shapes: Shapes, known: Arrays, opset: int) -> tuple[Shape, ...]:
    shape = given(node, shapes, 0)
    axis = axis_of(node, integer(node, "axis", 0), len(shape))
    sizes = known_integers(node, known, 1) if present(node, 1) else None
    parts = _sizes(node, shape[axis], sizes)
    return tuple((*shape[:axis], part, *shape[axis + 1 :]) for part in parts)


def _split(node: Node, inputs: Tensors, opset: int) -> tuple[Tensor, ...]:
    x = given(node, inputs, 0)
    axis = axis_of(node, integer(node, "axis", 0), x.dim())
    sizes = told(node, inputs, 1) if present(node, 1) else None
    return tuple(torch.split(x, list(_sizes(node, x.shape[axis], sizes)), axis))


def _concat_shape(node: Node, shapes: Shapes, known: Arrays, opset: int) -> tuple[Shape, ...]:
    found = [given(node, shapes, position) for position in range(len(node.inputs))]
    first = found[0]
    axis = axis_of(node, integer(node, "axis", 0), len(first))
    rest = {shape[:axis] + shape[axis + 1 :] for shape in found}
    if len(rest) > 1 or any(len(shape) != len(first) for shape in found):
        raise refused(node, f"cannot join {', '.join(map(str, found))} along axis {axis}")
    return ((*first[:axis], sum(shape[axis] for shape in found), *first[axis + 1 :]),)


def _concat(node: Node, inputs: Tensors, opset: int) -> tuple[Tensor, ...]:
    return (torch.cat(together(inputs), integer(node, "axis", 0)),)


def _expand_shape(node: Node, shapes: Shapes, known: Arrays, opset: int) -> tuple[Shape, ...]:
    return (broadcast(node, (given(node, shapes, 0), known_integers(node, known, 1))),)


def _expand(node: Node, inputs: Tensors, opset: int) -> tuple[Tensor, ...]:
    x = given(node, inputs, 0)
    return (x.expand(broadcast(node, (tuple(x.shape), told(node, inputs, 1)))),)


def _tile_shape(node: Node, shapes: Shapes, known: Arrays, opset: int) -> tuple[Shape, ...]:
    shape, times = given(node, shapes, 0), known_integers(node, known, 1)
    if len(shape) != len(times):
        raise refused(node, f"repeats {shape} by {times}")
    return (tuple(size * count for size, count in zip(shape, times, strict=True)),)


def _tile(node: Node, inputs: Tensors, opset: int) -> tuple[Tensor, ...]:
    return (given(node, inputs, 0).repeat(told(node, inputs, 1)),)


def _padding(
    node: Node, rank: int, pads: Sequence[int], axes: Sequence[int] | None
) -> list[tuple[int, int]]:
    """Before and after each axis."""
    axes = [axis_of(node, axis, rank) for axis in (range(rank) if axes is None else axes)]
    if len(pads) != 2 * len(axes):
        raise refused(node, f"has {len(pads)} paddings for {len(axes)} axes")
    sides = dict(zip(axes, zip(pads, pads[len(axes) :], strict=False), strict=True))
    return [sides.get(axis, (0, 0)) for axis in range(rank)]


def _pad_shape(node: Node, shapes: Shapes, known: Arrays, opset: int) -> tuple[Shape, ...]:
    shape = given(node, shapes, 0)
    axes = known_integers(node, known, 3) if present(node, 3) else None
    sides = _padding(node, len(shape), known_integers(node, known, 1), axes)
    if text(node, "mode", "constant") != "constant":
        for size, (before, after) in zip(shape, sides, strict=True):
            if max(before, 0) + max(after, 0) > LARGEST_BORDER:
                raise refused(node, f"pads {size} by {before} and {after}")
    return (tuple(b + size + a for (b, a), size in zip(sides, shape, strict=True)),)


def _pad(node: Node, inputs: Tensors, opset: int) -> tuple[Tensor, ...]:
    x = given(node, inputs, 0)
    axes = told(node, inputs, 3) if present(node, 3) else None
    sides = _padding(node, x.dim(), told(node, inputs, 1), axes)
    mode = text(node, "mode", "constant")
    if mode == "constant":
        value = at(inputs, 2)
        border = [side for pair in reversed(sides) for side in pair]
        return (F.pad(x, border, value=0 if value is None else value.item()),)
    for axis, (before, after) in enumerate(sides):
        if before or after:
            size = x.shape[axis]
            # numpy names the modes as ONNX does, and cuts nothing off.
            places = np.pad(np.arange(size), (max(before, 0), max(after, 0)), mode=mode)  # type: ignore[call-overload]
            places = places[max(-before, 0) : len(places) - max(-after, 0)]
            x = x.index_select(axis, torch.tensor(places, device=x.device))
    return (x,)


def _depth_to_space_shape(
    node: Node, shapes: Shapes, known: Arrays, opset: int
) -> tuple[Shape, ...]:
    batch, channels, height, width = given(node, shapes, 0)
    block = integer(node, "blocksize", 1)
    if block < 1 or channels % block**2:
        raise refused(node, f"lays {channels} channels out in blocks of {block} x {block}")
    return ((batch, channels // block**2, height * block, width * block),)


def _depth_to_space(node: Node, inputs: Tensors, opset: int) -> tuple[Tensor, ...]:
    x = given(node, inputs, 0)
    batch, channels, height, width = x.shape
    block = integer(node, "blocksize", 1)
    depth = channels // block**2
    if text(node, "mode", "DCR") == "DCR":
        x = x.reshape(batch, block, block, depth, height, width).permute(0, 3, 4, 1, 5, 2)
    else:
        x = x.reshape(batch, depth, block, block, height, width).permute(0, 1, 4, 2, 5, 3)
    return (x.reshape(batch, depth, height * block, width * block),)


def _space_to_depth_shape(
    node: Node, shapes: Shapes, known: Arrays, opset: int
) -> tuple[Shape, ...]:
    batch, channels, height, width = given(node, shapes, 0)
    block = integer(node, "blocksize", 1)
    if block < 1 or height % block or width % block:
        raise refused(node, f"takes {height} x {width} in blocks of {block} x {block}")
    return ((batch, channels * block**2, height // block, width // block),)


def _space_to_depth(node: Node, inputs: Tensors, opset: int) -> tuple[Tensor, ...]:
    x = given(node, inputs, 0)
    batch, channels, height, width = x.shape
    block = integer(node, "blocksize", 1)
    cells = x.reshape(batch, channels, height // block, block, width // block, block)
    blocks = cells.permute(0, 3, 5, 1, 2, 4)
    return (blocks.reshape(batch, channels * block**2, height // block, width // block),)


def _identity(node: Node, inputs: Tensors, opset: int) -> tuple[Tensor, ...]:
    return (given(node, inputs, 0),)


def _row(compute: Compute, shape: ShapeRule) -> Operator:
    return Operator(family=Family.MOVE, compute=compute, shape=shape)


MOVES: Mapping[str, Operator] = {
    "Concat": _row(_concat, _concat_shape),
    "DepthToSpace": _row(_depth_to_space, _depth_to_space_shape),
    "Expand": _row(_expand, _expand_shape),
    "Flatten": _row(_flatten, _flatten_shape),
    "Identity": _row(_identity, as_first),
    "Pad": _row(_pad, _pad_shape),
    "Reshape": _row(_reshape, _reshape_shape),
    "Slice": _row(_slice, _slice_shape),
    "SpaceToDepth": _row(_space_to_depth, _space_to_depth_shape),
    "Split": _row(_split, _split_shape),
    "Squeeze": _row(_squeeze, _squeeze_shape),
    "Tile": _row(_tile, _tile_shape),
    "Transpose": _row(_transpose, _transpose_shape),
    "Unsqueeze": _row(_unsqueeze, _unsqueeze_shape),
}
