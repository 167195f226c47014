"""Operators that mix within each channel: pools, samples and instance norms."""

import math
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from yoloprune.graph.graph import Node
from yoloprune.graph.operators.operator import (
    Arrays,
    Family,
    Operator,
    Shape,
    Shapes,
    Tensors,
    given,
    integer,
    integers,
    number,
    refused,
    text,
)
from yoloprune.graph.operators.regions import REGIONS
from yoloprune.graph.operators.resizing import RESIZING
from yoloprune.graph.operators.rules import per_channel
from yoloprune.graph.operators.windows import Frame, ceils, frame, windows

_MAX_POOLS = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}
_MEAN_POOLS = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}
_CONVOLUTIONS = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}


_GRID_MODES = {"linear": "bilinear", "cubic": "bicubic"}
"""torch's names, which were ONNX's before opset 20."""


def _pool_shape(node: Node, shapes: Shapes, known: Arrays, opset: int) -> tuple[Shape, ...]:
    shape = given(node, shapes, 0)
    found = windows(node, shape[2:], integers(node, "kernel_shape"))
    return ((*shape[:2], *found.sizes),) * len(node.outputs)


def _seen(node: Node, x: Tensor) -> tuple[Frame, Shape]:
    """The windows of a pool, and what the last of them reach over the padding."""
    sizes, kernel = tuple(x.shape[2:]), integers(node, "kernel_shape")
    if not ceils(node):
        return frame(node, sizes, kernel), (0,) * len(sizes)
    found = windows(node, sizes, kernel)
    return found, found.beyond


def _max_pool(node: Node, inputs: Tensors, opset: int) -> tuple[Tensor, ...]:
    if len(node.outputs) > 1:
        raise refused(node, "gives indices, which is not understood")
    x = given(node, inputs, 0)
    found, beyond = _seen(node, x)
    padding = found.before
    fits = all(2 * p <= k for p, k in zip(padding, found.kernel, strict=True))
    if not (found.even and fits) or any(beyond):
        # -inf is no whole number.
        low = -math.inf if x.is_floating_point() else torch.iinfo(x.dtype).min
        x = F.pad(x, found.border(beyond), value=low)
        padding = (0,) * len(padding)
    pool = _MAX_POOLS[x.dim() - 2]
    return (pool(x, found.kernel, found.strides, padding, found.dilations),)


def _average_pool(node: Node, inputs: Tensors, opset: int) -> tuple[Tensor, ...]:
    x = given(node, inputs, 0)
    rank = x.dim() - 2
    found, beyond = _seen(node, x)
    inside = bool(integer(node, "count_include_pad", 0))
    fits = all(2 * p <= k for p, k in zip(found.before, found.kernel, strict=True))
    if found.even and fits and not any(beyond) and set(found.dilations) == {1}:
        pool = _MEAN_POOLS[rank]
        return (pool(x, found.kernel, found.strides, found.before, count_include_pad=inside),)
    # The sum of what each window sees over how much that is; a window sees no further than the
    # padding.
    padded = F.pad(x, found.border(beyond))
    seen = torch.ones_like(x[:1, :1])
    if inside:
        seen = F.pad(F.pad(seen, found.border(), value=1.0), _beyond(beyond))
    else:
        seen = F.pad(seen, found.border(beyond))
    kernel = x.new_ones((1, 1, *found.kernel))
    convolve = _CONVOLUTIONS[rank]
    sums, counts = (
        convolve(
            values.reshape(-1, 1, *values.shape[2:]),
            kernel,
            stride=found.strides,
            dilation=found.dilations,
        )
        for values in (padded, seen)
    )
    return ((sums / counts).reshape(*x.shape[:2], *sums.shape[2:]),)


def _beyond(beyond: Shape) -> list[int]:
    return [side for after in reversed(beyond) for side in (0, after)]


def _global_shape(node: Node, shapes: Shapes, known: Arrays, opset: int) -> tuple[Shape, ...]:
    shape = given(node, shapes, 0)
    return ((*shape[:2], *(1,) * len(shape[2:])),)


def _global_average(node: Node, inputs: Tensors, opset: int) -> tuple[Tensor, ...]:
    x = given(node, inputs, 0)
    return (x.mean(tuple(range(2, x.dim())), keepdim=True),)


def _global_max(node: Node, inputs: Tensors, opset: int) -> tuple[Tensor, ...]:
    x = given(node, inputs, 0)
    return (x.amax(tuple(range(2, x.dim())), keepdim=True),)


def _instance_norm(node: Node, inputs: Tensors, opset: int) -> tuple[Tensor, ...]:
    x, scale, bias = (given(node, inputs, position) for position in range(3))
    epsilon = number(node, "epsilon", 1e-5)
    return (F.instance_norm(x, weight=scale, bias=bias, eps=epsilon),)


def _global_norm(node: Node, inputs: Tensors, opset: int) -> tuple[Tensor, ...]:
    x = given(node, inputs, 0)
    axes = tuple(range(2, x.dim()))
    return (torch.linalg.vector_norm(x, integer(node, "p", 2), axes, keepdim=True),)


def _grid_sample_shape(node: Node, shapes: Shapes, known: Arrays, opset: int) -> tuple[Shape, ...]:
    return ((*given(node, shapes, 0)[:2], *given(node, shapes, 1)[1:-1]),)


def _grid_sample(node: Node, inputs: Tensors, opset: int) -> tuple[Tensor, ...]:
    mode = text(node, "mode", "linear")
    sampled = F.grid_sample(
        given(node, inputs, 0),
        given(node, inputs, 1),
        mode=_GRID_MODES.get(mode, mode),
        padding_mode=text(node, "padding_mode", "zeros"),
        align_corners=bool(integer(node, "align_corners", 0)),
    )
    return (sampled,)


SPATIAL: Mapping[str, Operator] = {
    "AveragePool": Operator(family=Family.SPATIAL, compute=_average_pool, shape=_pool_shape),
    "GlobalAveragePool": Operator(
        family=Family.SPATIAL, compute=_global_average, shape=_global_shape
    ),
    "GlobalMaxPool": Operator(family=Family.SPATIAL, compute=_global_max, shape=_global_shape),
    "GlobalLpPool": Operator(family=Family.SPATIAL, compute=_global_norm, shape=_global_shape),
    "GridSample": Operator(family=Family.SPATIAL, compute=_grid_sample, shape=_grid_sample_shape),
    "InstanceNormalization": Operator(
        family=Family.SPATIAL, compute=_instance_norm, shape=per_channel
    ),
    "MaxPool": Operator(family=Family.SPATIAL, compute=_max_pool, shape=_pool_shape),
    **REGIONS,
    **RESIZING,
}
