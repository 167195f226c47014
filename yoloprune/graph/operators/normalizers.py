"""Operators that mix along an axis and keep the shape."""

from collections.abc import Callable, Mapping

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
    Shapes,
    Tensors,
    at,
    axis_of,
    given,
    integer,
    number,
    refused,
)
from yoloprune.graph.operators.rules import as_first, broadcast, check_vectors


def _softmax(function: Callable[[Tensor, int], Tensor]) -> Compute:
    def compute(node: Node, inputs: Tensors, opset: int) -> tuple[Tensor, ...]:
        x = given(node, inputs, 0)
        if opset >= 13:
            return (function(x, axis_of(node, integer(node, "axis", -1), x.dim())),)
        # It took all axes from this one on together.
        axis = axis_of(node, integer(node, "axis", 1), x.dim())
        rows = x.reshape(*x.shape[:axis], -1)
        return (function(rows, axis).reshape(x.shape),)

    return compute


def _hardmax(x: Tensor, axis: int) -> Tensor:
    """One where the first of the largest is, along an axis."""
    first = x.argmax(axis, keepdim=True)
    return torch.zeros_like(x).scatter(axis, first, 1.0)


def _layer_norm_shape(node: Node, shapes: Shapes, known: Arrays, opset: int) -> tuple[Shape, ...]:
    shape = given(node, shapes, 0)
    axis = axis_of(node, integer(node, "axis", -1), len(shape))
    for vector in shapes[1:]:
        if vector is not None and broadcast(node, (shape, vector)) != shape:
            raise refused(node, f"scales {shape} by {vector}")
    statistics = (*shape[:axis], *(1,) * (len(shape) - axis))
    return (shape, *(statistics for _ in node.outputs[1:]))


def _layer_norm(node: Node, inputs: Tensors, opset: int) -> tuple[Tensor, ...]:
    x, scale, bias = given(node, inputs, 0), given(node, inputs, 1), at(inputs, 2)
    axis = axis_of(node, integer(node, "axis", -1), x.dim())
    epsilon = number(node, "epsilon", 1e-5)
    sizes = tuple(x.shape[axis:])
    if scale.shape == sizes and (bias is None or bias.shape == sizes):
        normed = F.layer_norm(x, sizes, scale, bias, epsilon)
    else:
        normed = F.layer_norm(x, sizes, eps=epsilon) * scale
        normed = normed if bias is None else normed + bias
    if len(node.outputs) == 1:
        return (normed,)
    variance, mean = torch.var_mean(x, tuple(range(axis, x.dim())), correction=0, keepdim=True)
    return (normed, mean, torch.rsqrt(variance + epsilon))[: len(node.outputs)]


def _rms_norm(node: Node, inputs: Tensors, opset: int) -> tuple[Tensor, ...]:
    x, scale = given(node, inputs, 0), given(node, inputs, 1)
    axes = tuple(range(axis_of(node, integer(node, "axis", -1), x.dim()), x.dim()))
    square = (x * x).mean(axes, keepdim=True)
    return (x * torch.rsqrt(square + number(node, "epsilon", 1e-5)) * scale,)


def _group_norm_shape(node: Node, shapes: Shapes, known: Arrays, opset: int) -> tuple[Shape, ...]:
    shape, groups = given(node, shapes, 0), integer(node, "num_groups", 1)
    if groups < 1 or shape[1] % groups:
        raise refused(node, f"takes {shape} in {groups} groups")
    check_vectors(node, shapes[1:], shape[1] if opset >= 21 else groups)
    return (shape,)


def _group_norm(node: Node, inputs: Tensors, opset: int) -> tuple[Tensor, ...]:
    x, scale, bias = (given(node, inputs, position) for position in range(3))
    groups = integer(node, "num_groups", 1)
    if opset < 21:
        # Until then a group, not a channel, had a scale and a bias.
        each = x.shape[1] // groups
        scale, bias = scale.repeat_interleave(each), bias.repeat_interleave(each)
    return (F.group_norm(x, groups, scale, bias, number(node, "epsilon", 1e-5)),)


def _lp_norm(node: Node, inputs: Tensors, opset: int) -> tuple[Tensor, ...]:
    x = given(node, inputs, 0)
    axis = axis_of(node, integer(node, "axis", -1), x.dim())
    norm = torch.linalg.vector_norm(x, integer(node, "p", 2), axis, keepdim=True)
    return (torch.where(norm == 0, torch.zeros_like(x), x / norm),)


def _response_shape(node: Node, shapes: Shapes, known: Arrays, opset: int) -> tuple[Shape, ...]:
    if integer(node, "size", 1) < 1:
        raise refused(node, f"looks at {integer(node, 'size', 1)} channels")
    return (given(node, shapes, 0),)


def _response_norm(node: Node, inputs: Tensors, opset: int) -> tuple[Tensor, ...]:
    x, size = given(node, inputs, 0), integer(node, "size", 1)
    channels = x.shape[1]
    # Beyond the channels there are none, however large the window.
    before, after = (min(side, channels) for side in ((size - 1) // 2, size // 2))
    border = [0, 0] * (x.dim() - 2) + [before, after]
    squares = F.pad(x * x, border)
    total = squares.narrow(1, 0, channels)
    for offset in range(1, before + after + 1):
        total = total + squares.narrow(1, offset, channels)
    base = number(node, "bias", 1.0) + number(node, "alpha", 1e-4) / size * total
    return (x / base ** number(node, "beta", 0.75),)


def _row(compute: Compute) -> Operator:
    return Operator(family=Family.NORMALIZER, compute=compute, shape=as_first)


NORMALIZERS: Mapping[str, Operator] = {
    "GroupNormalization": Operator(
        family=Family.NORMALIZER, compute=_group_norm, shape=_group_norm_shape
    ),
    "Hardmax": _row(_softmax(_hardmax)),
    "LRN": Operator(family=Family.NORMALIZER, compute=_response_norm, shape=_response_shape),
    "LayerNormalization": Operator(
        family=Family.NORMALIZER, compute=_layer_norm, shape=_layer_norm_shape
    ),
    "LogSoftmax": _row(_softmax(torch.log_softmax)),
    "LpNormalization": _row(_lp_norm),
    "RMSNormalization": Operator(
        family=Family.NORMALIZER, compute=_rms_norm, shape=_layer_norm_shape
    ),
    "Softmax": _row(_softmax(torch.softmax)),
}
