"""Operators that give numbers which depend on shapes or on nothing."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from yoloprune.graph.graph import Node
from yoloprune.graph.operators.dtypes import dtype_of
from yoloprune.graph.operators.operator import (
    Arrays,
    Family,
    Operator,
    Shape,
    Shapes,
    Tensors,
    at,
    given,
    integer,
    known_integers,
    refused,
    untold,
)
from yoloprune.graph.operators.rules import as_first
from yoloprune.graph.operators.tensors import told


def _constant(node: Node) -> NDArray[Any]:
    for name, dtype in (
        ("value", None),
        ("value_int", np.int64),
        ("value_ints", np.int64),
        ("value_float", np.float32),
        ("value_floats", np.float32),
    ):
        if name in node.attributes:
            return np.array(node.attributes[name], dtype)
    raise refused(node, "holds no numbers that are understood")


def _constant_shape(node: Node, shapes: Shapes, known: Arrays, opset: int) -> tuple[Shape, ...]:
    return (_constant(node).shape,)


def _constant_value(node: Node, inputs: Tensors, opset: int) -> tuple[Tensor, ...]:
    return (torch.from_numpy(_constant(node)),)


def _filled_shape(node: Node, shapes: Shapes, known: Arrays, opset: int) -> tuple[Shape, ...]:
    return (known_integers(node, known, 0),)


def _filled(node: Node, inputs: Tensors, opset: int) -> tuple[Tensor, ...]:
    value = np.array(node.attributes.get("value", np.float32(0))).reshape(1)
    return (
        torch.from_numpy(value)
        .repeat(math.prod(told(node, inputs, 0)))
        .reshape(told(node, inputs, 0)),
    )


def _ends(node: Node, shape: Shape) -> Shape:
    """The part of a shape that is asked for."""
    return shape[integer(node, "start", 0) : integer(node, "end", len(shape))]


def _shape_shape(node: Node, shapes: Shapes, known: Arrays, opset: int) -> tuple[Shape, ...]:
    return ((len(_ends(node, given(node, shapes, 0))),),)


def _shape(node: Node, inputs: Tensors, opset: int) -> tuple[Tensor, ...]:
    sizes = _ends(node, tuple(given(node, inputs, 0).shape))
    return (torch.tensor(sizes, dtype=torch.int64),)


def _size_shape(node: Node, shapes: Shapes, known: Arrays, opset: int) -> tuple[Shape, ...]:
    return ((),)


def _size(node: Node, inputs: Tensors, opset: int) -> tuple[Tensor, ...]:
    return (torch.tensor(given(node, inputs, 0).numel()),)


def _count(start: float, limit: float, step: float) -> int:
    return max(math.ceil((limit - start) / step), 0)


def _range_shape(node: Node, shapes: Shapes, known: Arrays, opset: int) -> tuple[Shape, ...]:
    bounds = [at(known, position) for position in range(3)]
    if any(bound is None for bound in bounds):
        raise untold(node, "lies between bounds that are")
    return ((_count(*(bound.item() for bound in bounds if bound is not None)),),)


def _range(node: Node, inputs: Tensors, opset: int) -> tuple[Tensor, ...]:
    start, limit, step = (given(node, inputs, position) for position in range(3))
    count = _count(start.item(), limit.item(), step.item())
    return (start + step * torch.arange(count, dtype=start.dtype, device=start.device),)


def _eye(node: Node, inputs: Tensors, opset: int) -> tuple[Tensor, ...]:
    x = given(node, inputs, 0)
    code = integer(node, "dtype", 0)
    eye = torch.zeros(x.shape, dtype=dtype_of(node, code) if code else x.dtype, device=x.device)
    offset = integer(node, "k", 0)
    if -eye.shape[0] < offset < eye.shape[1]:
        eye.diagonal(offset).fill_(1)
    return (eye,)


def _nonzero_shape(node: Node, shapes: Shapes, known: Arrays, opset: int) -> tuple[Shape, ...]:
    array = at(known, 0)
    if array is None:
        raise untold(node)
    return ((array.ndim, int(np.count_nonzero(array))),)


def _nonzero(node: Node, inputs: Tensors, opset: int) -> tuple[Tensor, ...]:
    return (torch.nonzero(given(node, inputs, 0)).T,)


NUMBERS: Mapping[str, Operator] = {
    "Constant": Operator(family=Family.SHAPE, compute=_constant_value, shape=_constant_shape),
    "ConstantOfShape": Operator(family=Family.SHAPE, compute=_filled, shape=_filled_shape),
    "EyeLike": Operator(family=Family.SHAPE, compute=_eye, shape=as_first),
    "NonZero": Operator(family=Family.SHAPE, compute=_nonzero, shape=_nonzero_shape),
    "Range": Operator(family=Family.SHAPE, compute=_range, shape=_range_shape),
    "Shape": Operator(family=Family.SHAPE, compute=_shape, shape=_shape_shape),
    "Size": Operator(family=Family.SHAPE, compute=_size, shape=_size_shape),
}
