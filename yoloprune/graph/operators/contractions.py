"""Operators that sum products over an axis."""

import math
from collections.abc import Mapping, Sequence

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
    at,
    given,
    integer,
    number,
    refused,
)
from yoloprune.graph.operators.rules import broadcast, check_vectors
from yoloprune.graph.operators.windows import frame, spread_windows, windows

_CONVOLUTIONS = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
_TRANSPOSED = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}


def _conv_shape(node: Node, shapes: Shapes, known: Arrays, opset: int) -> tuple[Shape, ...]:
    shape, kernel = given(node, shapes, 0), given(node, shapes, 1)
    groups = integer(node, "group", 1)
    if (
        len(shape) != len(kernel)
        or groups < 1
        or shape[1] != kernel[1] * groups
        or kernel[0] % groups
        or 0 in kernel[:2]
    ):
        raise refused(node, f"reads {shape} with a kernel of {kernel} in {groups} groups")
    check_vectors(node, shapes[2:], kernel[0])
    return ((shape[0], kernel[0], *windows(node, shape[2:], kernel[2:]).sizes),)


def _conv(node: Node, inputs: Tensors, opset: int) -> tuple[Tensor, ...]:
    x, kernel, bias = given(node, inputs, 0), given(node, inputs, 1), at(inputs, 2)
    found = frame(node, tuple(x.shape[2:]), tuple(kernel.shape[2:]))
    padding = found.before
    if not found.even:
        x = F.pad(x, found.border())
        padding = (0,) * len(padding)
    convolve = _CONVOLUTIONS[x.dim() - 2]
    groups = integer(node, "group", 1)
    return (convolve(x, kernel, bias, found.strides, padding, found.dilations, groups),)


def _conv_macs(node: Node, inputs: Shapes, outputs: Sequence[Shape]) -> int:
    return math.prod(outputs[0]) * math.prod(given(node, inputs, 1)[1:])


def _transposed_shape(node: Node, shapes: Shapes, known: Arrays, opset: int) -> tuple[Shape, ...]:
    shape, kernel = given(node, shapes, 0), given(node, shapes, 1)
    groups = integer(node, "group", 1)
    if (
        len(shape) != len(kernel)
        or groups < 1
        or shape[1] != kernel[0]
        or kernel[0] % groups
        or 0 in kernel[:2]
    ):
        raise refused(node, f"reads {shape} with a kernel of {kernel} in {groups} groups")
    check_vectors(node, shapes[2:], kernel[1] * groups)
    return ((shape[0], kernel[1] * groups, *spread_windows(node, shape[2:], kernel[2:]).sizes),)


def _transposed(node: Node, inputs: Tensors, opset: int) -> tuple[Tensor, ...]:
    x, kernel, bias = given(node, inputs, 0), given(node, inputs, 1), at(inputs, 2)
    found = spread_windows(node, tuple(x.shape[2:]), tuple(kernel.shape[2:]))
    groups = integer(node, "group", 1)
    convolve = _TRANSPOSED[x.dim() - 2]
    room = zip(found.extra, found.strides, found.dilations, strict=True)
    if found.before == found.after and all(e < max(s, d) for e, s, d in room):
        padding, extra = found.before, found.extra
        return (convolve(x, kernel, bias, found.strides, padding, extra, groups, found.dilations),)
    full = convolve(x, kernel, None, found.strides, 0, 0, groups, found.dilations)
    sides = zip(found.before, found.after, found.extra, strict=True)
    border = [side for before, after, extra in sides for side in (extra - after, -before)]
    cut = F.pad(full, list(reversed(border)))
    if bias is not None:
        cut = cut + bias.reshape(1, -1, *(1,) * (x.dim() - 2))
    return (cut,)


def _transposed_macs(node: Node, inputs: Shapes, outputs: Sequence[Shape]) -> int:
    return math.prod(given(node, inputs, 0)) * math.prod(given(node, inputs, 1)[1:])


def _gemm_shape(node: Node, shapes: Shapes, known: Arrays, opset: int) -> tuple[Shape, ...]:
    a, b = given(node, shapes, 0), given(node, shapes, 1)
    rows, left = reversed(a) if integer(node, "transA", 0) else a
    right, columns = reversed(b) if integer(node, "transB", 0) else b
    if left != right:
        raise refused(node, f"multiplies {a} and {b}")
    c = at(shapes, 2)
    if c is not None and broadcast(node, ((rows, columns), c)) != (rows, columns):
        raise refused(node, f"adds {c} to ({rows}, {columns})")
    return ((rows, columns),)


def _gemm(node: Node, inputs: Tensors, opset: int) -> tuple[Tensor, ...]:
    a, b, c = given(node, inputs, 0), given(node, inputs, 1), at(inputs, 2)
    left = a.T if integer(node, "transA", 0) else a
    right = b.T if integer(node, "transB", 0) else b
    alpha, beta = number(node, "alpha", 1.0), number(node, "beta", 1.0)
    if c is not None and alpha == beta == 1:
        return (torch.addmm(c, left, right),)
    product = left @ right
    if alpha != 1:
        product = alpha * product
    return (product if c is None else product + beta * c,)


def _gemm_macs(node: Node, inputs: Shapes, outputs: Sequence[Shape]) -> int:
    a = given(node, inputs, 0)
    return math.prod(outputs[0]) * a[0 if integer(node, "transA", 0) else 1]


def _matmul_shape(node: Node, shapes: Shapes, known: Arrays, opset: int) -> tuple[Shape, ...]:
    a, b = given(node, shapes, 0), given(node, shapes, 1)
    if not a or not b or a[-1] != (b[0] if len(b) == 1 else b[-2]):
        raise refused(node, f"multiplies {a} and {b}")
    leading = broadcast(node, (a[:-2], b[:-2]))
    return ((*leading, *a[-2:-1], *(b[-1:] if len(b) > 1 else ())),)


def _matmul(node: Node, inputs: Tensors, opset: int) -> tuple[Tensor, ...]:
    return (torch.matmul(given(node, inputs, 0), given(node, inputs, 1)),)


def _matmul_macs(node: Node, inputs: Shapes, outputs: Sequence[Shape]) -> int:
    return math.prod(outputs[0]) * given(node, inputs, 0)[-1]


CONTRACTIONS: Mapping[str, Operator] = {
    "Conv": Operator(family=Family.CONTRACTION, compute=_conv, shape=_conv_shape, macs=_conv_macs),
    "ConvTranspose": Operator(
        family=Family.CONTRACTION,
        compute=_transposed,
        shape=_transposed_shape,
        macs=_transposed_macs,
    ),
    "Gemm": Operator(family=Family.CONTRACTION, compute=_gemm, shape=_gemm_shape, macs=_gemm_macs),
    "MatMul": Operator(
        family=Family.CONTRACTION, compute=_matmul, shape=_matmul_shape, macs=_matmul_macs
    ),
}
