"""Operators that take axes together to one."""

from collections.abc import Callable, Mapping, Sequence
from functools import reduce

import torch
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
    axis_of,
    given,
    integer,
    integers,
    known_integers,
    present,
)
from yoloprune.graph.operators.tensors import told

Reduction = Callable[[Tensor, Shape, bool], Tensor]
"""Of (x, axes, whether they are kept with size 1)."""


def reduced_axes(node: Node, rank: int, found: Sequence[int] | None) -> Shape:
    """The axes that a node reduces, from its attribute or from what its input says."""
    axes = integers(node, "axes") or tuple(found or ())
    if not axes:
        return () if integer(node, "noop_with_empty_axes", 0) else tuple(range(rank))
    return tuple(axis_of(node, axis, rank) for axis in axes)


def without(shape: Shape, axes: Sequence[int], *, keep: bool) -> Shape:
    """A shape whose axes are reduced."""
    if keep:
        return tuple(1 if axis in axes else size for axis, size in enumerate(shape))
    return tuple(size for axis, size in enumerate(shape) if axis not in axes)


def _reduce_shape(node: Node, shapes: Shapes, known: Arrays, opset: int) -> tuple[Shape, ...]:
    shape = given(node, shapes, 0)
    found = known_integers(node, known, 1) if present(node, 1) else None
    axes = reduced_axes(node, len(shape), found)
    return (without(shape, axes, keep=bool(integer(node, "keepdims", 1))),)


def _reducing(function: Reduction) -> Compute:
    def compute(node: Node, inputs: Tensors, opset: int) -> tuple[Tensor, ...]:
        x = given(node, inputs, 0)
        found = told(node, inputs, 1) if present(node, 1) else None
        axes = reduced_axes(node, x.dim(), found)
        if not axes:
            # Over one element each: logarithms and squares are taken all the same.
            return (function(x.unsqueeze(-1), (x.dim(),), False),)
        return (function(x, axes, bool(integer(node, "keepdims", 1))),)

    return compute


def _product(x: Tensor, axes: Shape, keep: bool) -> Tensor:
    product = reduce(lambda found, axis: found.prod(axis, keepdim=True), axes, x)
    return product if keep else product.squeeze(axes)


def _sum(x: Tensor, axes: Shape, keep: bool) -> Tensor:
    return torch.sum(x, axes, keep, dtype=x.dtype)


def _arg_shape(node: Node, shapes: Shapes, known: Arrays, opset: int) -> tuple[Shape, ...]:
    shape = given(node, shapes, 0)
    axis = axis_of(node, integer(node, "axis", 0), len(shape))
    return (without(shape, (axis,), keep=bool(integer(node, "keepdims", 1))),)


def _arg(function: Callable[[Tensor, int, bool], Tensor]) -> Compute:
    def compute(node: Node, inputs: Tensors, opset: int) -> tuple[Tensor, ...]:
        x = given(node, inputs, 0)
        axis = axis_of(node, integer(node, "axis", 0), x.dim())
        keep = bool(integer(node, "keepdims", 1))
        if integer(node, "select_last_index", 0):
            return (x.shape[axis] - 1 - function(x.flip(axis), axis, keep),)
        return (function(x, axis, keep),)

    return compute


_REDUCTIONS: Mapping[str, Reduction] = {
    "ReduceL1": lambda x, axes, keep: _sum(x.abs(), axes, keep),
    "ReduceL2": lambda x, axes, keep: torch.linalg.vector_norm(x, dim=axes, keepdim=keep),
    "ReduceLogSum": lambda x, axes, keep: _sum(x, axes, keep).log(),
    "ReduceLogSumExp": lambda x, axes, keep: torch.logsumexp(x, axes, keep),
    "ReduceMax": lambda x, axes, keep: torch.amax(x, axes, keep),
    "ReduceMean": lambda x, axes, keep: torch.mean(x, axes, keep),
    "ReduceMin": lambda x, axes, keep: torch.amin(x, axes, keep),
    "ReduceProd": _product,
    "ReduceSum": _sum,
    "ReduceSumSquare": lambda x, axes, keep: _sum(x * x, axes, keep),
}

REDUCTIONS: Mapping[str, Operator] = {
    **{
        name: Operator(family=Family.REDUCTION, compute=_reducing(function), shape=_reduce_shape)
        for name, function in _REDUCTIONS.items()
    },
    "ArgMax": Operator(family=Family.REDUCTION, compute=_arg(torch.argmax), shape=_arg_shape),
    "ArgMin": Operator(family=Family.REDUCTION, compute=_arg(torch.argmin), shape=_arg_shape),
}
