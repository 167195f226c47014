"""Operators that take or put elements by indices."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from yoloprune.graph.graph import Node
from yoloprune.graph.operators.operator import (
    Arrays,
    Family,
    Operator,
    Shape,
    Shapes,
    Tensors,
    at,
    axis_of,
    given,
    integer,
    refused,
    text,
)
from yoloprune.graph.operators.rules import as_first
from yoloprune.graph.operators.tensors import together

_REDUCTIONS = {"add": "sum", "mul": "prod", "max": "amax", "min": "amin"}
"""torch's names of what is done where something is there already."""


def _counted(indices: Tensor, size: int) -> Tensor:
    """Indices from the front."""
    indices = indices.long()
    return torch.where(indices < 0, indices + size, indices)


def _gather_shape(node: Node, shapes: Shapes, known: Arrays, opset: int) -> tuple[Shape, ...]:
    data, indices = given(node, shapes, 0), given(node, shapes, 1)
    axis = axis_of(node, integer(node, "axis", 0), len(data))
    taken, size = at(known, 1), data[axis]
    if taken is not None and taken.size and not -size <= taken.min() <= taken.max() < size:
        raise refused(node, f"takes number {taken.max()} of {size}")
    return ((*data[:axis], *indices, *data[axis + 1 :]),)


def _gather(node: Node, inputs: Tensors, opset: int) -> tuple[Tensor, ...]:
    x, indices = given(node, inputs, 0), given(node, inputs, 1)
    axis = axis_of(node, integer(node, "axis", 0), x.dim())
    places = _counted(indices, x.shape[axis]).to(x.device)
    taken = x.index_select(axis, places.reshape(-1))
    return (taken.reshape((*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :])),)


def _gather_elements_shape(
    node: Node, shapes: Shapes, known: Arrays, opset: int
) -> tuple[Shape, ...]:
    return (given(node, shapes, 1),)


def _gather_elements(node: Node, inputs: Tensors, opset: int) -> tuple[Tensor, ...]:
    x, indices = given(node, inputs, 0), given(node, inputs, 1)
    axis = axis_of(node, integer(node, "axis", 0), x.dim())
    return (torch.gather(x, axis, _counted(indices, x.shape[axis]).to(x.device)),)


def _scatter_elements(node: Node, inputs: Tensors, opset: int) -> tuple[Tensor, ...]:
    x, indices, updates = together([given(node, inputs, i) for i in range(3)])
    axis = axis_of(node, integer(node, "axis", 0), x.dim())
    places = _counted(indices, x.shape[axis])
    reduction = text(node, "reduction", "none")
    if reduction == "none":
        return (torch.scatter(x, axis, places, updates),)
    return (torch.scatter_reduce(x, axis, places, updates, _REDUCTIONS[reduction]),)


def _flat(indices: Tensor, sizes: Shape) -> Tensor:  # (..., R) -> (...)
    """Places in an array of these R sizes, counted row by row."""
    places = torch.zeros_like(indices[..., 0], dtype=torch.int64)
    for number, size in enumerate(sizes):
        places = places * size + _counted(indices[..., number], size)
    return places


def _gather_nd_shape(node: Node, shapes: Shapes, known: Arrays, opset: int) -> tuple[Shape, ...]:
    data, indices = given(node, shapes, 0), given(node, shapes, 1)
    batch = integer(node, "batch_dims", 0)
    return ((*indices[:-1], *data[batch + indices[-1] :]),)


def _gather_nd(node: Node, inputs: Tensors, opset: int) -> tuple[Tensor, ...]:
    x, indices = together([given(node, inputs, i) for i in range(2)])
    batch, depth = integer(node, "batch_dims", 0), indices.shape[-1]
    shape = tuple(x.shape)
    sets, cells = math.prod(shape[:batch]), math.prod(shape[batch : batch + depth])
    rest = shape[batch + depth :]
    places = _flat(indices, shape[batch : batch + depth]).reshape(sets, -1)
    places = places + cells * torch.arange(sets, device=x.device)[:, None]
    taken = x.reshape(sets * cells, -1).index_select(0, places.reshape(-1))
    return (taken.reshape((*indices.shape[:-1], *rest)),)


def _scatter_nd(node: Node, inputs: Tensors, opset: int) -> tuple[Tensor, ...]:
    x, indices, updates = together([given(node, inputs, i) for i in range(3)])
    depth, shape = indices.shape[-1], tuple(x.shape)
    places = _flat(indices, shape[:depth]).reshape(-1)
    rows = x.reshape(math.prod(shape[:depth]), -1)
    new = updates.reshape(len(places), -1)
    reduction = text(node, "reduction", "none")
    if reduction == "none":
        return (rows.index_copy(0, places, new).reshape(shape),)
    whole = places[:, None].expand_as(new)
    put = torch.scatter_reduce(rows, 0, whole, new, _REDUCTIONS[reduction])
    return (put.reshape(shape),)


INDEXING: Mapping[str, Operator] = {
    "Gather": Operator(family=Family.MOVE, compute=_gather, shape=_gather_shape),
    "GatherElements": Operator(
        family=Family.MOVE, compute=_gather_elements, shape=_gather_elements_shape
    ),
    "GatherND": Operator(family=Family.MOVE, compute=_gather_nd, shape=_gather_nd_shape),
    "ScatterElements": Operator(family=Family.MOVE, compute=_scatter_elements, shape=as_first),
    "ScatterND": Operator(family=Family.MOVE, compute=_scatter_nd, shape=as_first),
}
