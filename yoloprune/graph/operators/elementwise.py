"""Operators that compute each element from those at its place."""

import math
from collections.abc import Callable, Mapping
from functools import reduce

import torch
import torch.nn.functional as F
from torch import Tensor

from yoloprune.graph.graph import Node
from yoloprune.graph.operators.dtypes import FLOAT, dtype_of
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
    text,
)
from yoloprune.graph.operators.rules import as_first, broadcasting, check_vectors, per_channel
from yoloprune.graph.operators.tensors import together

BATCH_NORM_EPSILON = 1e-5
"""What ONNX takes where a batch norm does not say."""


def _apply(function: Callable[[Tensor], Tensor]) -> Compute:
    def compute(node: Node, inputs: Tensors, opset: int) -> tuple[Tensor, ...]:
        return (function(given(node, inputs, 0)),)

    return compute


def _apply_told(function: Callable[[Node, Tensor], Tensor]) -> Compute:
    """Of a function that reads the node's attributes."""

    def compute(node: Node, inputs: Tensors, opset: int) -> tuple[Tensor, ...]:
        return (function(node, given(node, inputs, 0)),)

    return compute


def _fold(function: Callable[[Tensor, Tensor], Tensor]) -> Compute:
    def compute(node: Node, inputs: Tensors, opset: int) -> tuple[Tensor, ...]:
        return (reduce(function, together(inputs)),)

    return compute


def _mean(node: Node, inputs: Tensors, opset: int) -> tuple[Tensor, ...]:
    tensors = together(inputs)
    return (reduce(torch.add, tensors) / len(tensors),)


def _divide(a: Tensor, b: Tensor) -> Tensor:
    whole = not (a.is_floating_point() or b.is_floating_point())
    return torch.div(a, b, rounding_mode="trunc" if whole else None)


def _mod(node: Node, inputs: Tensors, opset: int) -> tuple[Tensor, ...]:
    a, b = together(inputs)
    return (torch.fmod(a, b) if integer(node, "fmod", 0) else torch.remainder(a, b),)


def _power(a: Tensor, b: Tensor) -> Tensor:
    return torch.pow(a, b).to(a.dtype)


def _prelu(x: Tensor, slope: Tensor) -> Tensor:
    return torch.where(x < 0, x * slope, x)


def _where(node: Node, inputs: Tensors, opset: int) -> tuple[Tensor, ...]:
    condition, a, b = together(inputs)
    return (torch.where(condition, a, b),)


def _clip(node: Node, inputs: Tensors, opset: int) -> tuple[Tensor, ...]:
    bounds: list[float | None] = []
    for position, name in ((1, "min"), (2, "max")):
        bound = at(inputs, position)
        # Plain numbers take torch's faster way; reading them waits for an accelerator.
        if bound is not None:
            bounds.append(bound.item())
        else:
            bounds.append(number(node, name, 0.0) if name in node.attributes else None)
    x = given(node, inputs, 0)
    return (x if bounds == [None, None] else torch.clamp(x, *bounds),)


def _softplus(x: Tensor) -> Tensor:
    # torch takes it for x from a threshold on: at 20, too early for float64.
    return F.softplus(x, threshold=40.0)


def _hard_sigmoid(node: Node, x: Tensor) -> Tensor:
    return torch.clamp(x * number(node, "alpha", 0.2) + number(node, "beta", 0.5), 0.0, 1.0)


def _selu(node: Node, x: Tensor) -> Tensor:
    alpha = number(node, "alpha", 1.67326319217681884765625)
    return number(node, "gamma", 1.05070102214813232421875) * F.elu(x, alpha)


def _thresholded(node: Node, x: Tensor) -> Tensor:
    return torch.where(x > number(node, "alpha", 1.0), x, torch.zeros_like(x))


def _shrink(node: Node, x: Tensor) -> Tensor:
    lambd, bias = number(node, "lambd", 0.5), number(node, "bias", 0.0)
    above = torch.where(x > lambd, x - bias, torch.zeros_like(x))
    return torch.where(x < -lambd, x + bias, above)


def _gelu(node: Node, x: Tensor) -> Tensor:
    return F.gelu(x, approximate=text(node, "approximate", "none"))


def _swish(node: Node, x: Tensor) -> Tensor:
    alpha = number(node, "alpha", 1.0)
    return F.silu(x) if alpha == 1 else x * torch.sigmoid(alpha * x)


def _is_infinite(node: Node, x: Tensor) -> Tensor:
    found = torch.zeros_like(x, dtype=torch.bool)
    if integer(node, "detect_positive", 1):
        found = found | torch.isposinf(x)
    if integer(node, "detect_negative", 1):
        found = found | torch.isneginf(x)
    return found


def _cast(node: Node, inputs: Tensors, opset: int) -> tuple[Tensor, ...]:
    return (given(node, inputs, 0).to(dtype_of(node, integer(node, "to", FLOAT))),)


def _cast_like(node: Node, inputs: Tensors, opset: int) -> tuple[Tensor, ...]:
    return (given(node, inputs, 0).to(given(node, inputs, 1).dtype),)


def _dropout(node: Node, inputs: Tensors, opset: int) -> tuple[Tensor, ...]:
    x = given(node, inputs, 0)
    if len(node.outputs) == 1:
        return (x,)
    return x, torch.ones_like(x, dtype=torch.bool)


def _batch_norm(node: Node, inputs: Tensors, opset: int) -> tuple[Tensor, ...]:
    x, scale, bias, mean, variance = (given(node, inputs, position) for position in range(5))
    epsilon = number(node, "epsilon", BATCH_NORM_EPSILON)
    if not integer(node, "training_mode", 0):
        return (F.batch_norm(x, mean, variance, scale, bias, eps=epsilon),)
    axes = [axis for axis in range(x.dim()) if axis != 1]
    found = torch.var_mean(x, axes, correction=0)
    kept = number(node, "momentum", 0.9)
    running = [
        old * kept + new * (1 - kept) for old, new in zip((variance, mean), found, strict=True)
    ]
    return (
        F.batch_norm(x, None, None, scale, bias, training=True, eps=epsilon),
        running[1],
        running[0],
    )[: len(node.outputs)]


def _quantized_shape(node: Node, shapes: Shapes, known: Arrays, opset: int) -> tuple[Shape, ...]:
    """Scale and zero point are one number, a number for each place along an axis, or for blocks."""
    shape, scale = given(node, shapes, 0), given(node, shapes, 1)
    zero = at(shapes, 2)
    if zero is not None and zero != scale and math.prod(zero) * math.prod(scale) != 1:
        raise refused(node, f"reads scales of {scale} and zero points of {zero}")
    if math.prod(scale) != 1 and len(scale) == 1:
        check_vectors(node, shapes[1:], shape[axis_of(node, integer(node, "axis", 1), len(shape))])
    elif math.prod(scale) != 1 and not integer(node, "block_size", 0):
        raise refused(node, f"reads {shape} with scales of {scale}")
    return (shape,)


def _along_axis(node: Node, vector: Tensor, x: Tensor) -> Tensor:
    """A scale or zero point in a shape that broadcasts to x."""
    if integer(node, "block_size", 0):
        raise refused(node, "scales blocks, which is not understood: scale channels or tensors")
    if vector.numel() == 1:
        return vector.reshape(())
    shape = [1] * x.dim()
    shape[integer(node, "axis", 1) % x.dim()] = -1
    return vector.reshape(shape)


def _quantize(node: Node, inputs: Tensors, opset: int) -> tuple[Tensor, ...]:
    x, scale, zero = given(node, inputs, 0), given(node, inputs, 1), at(inputs, 2)
    default = dtype_of(node, integer(node, "output_dtype", 0) or 2)
    dtype = default if zero is None else zero.dtype
    steps = torch.round(x / _along_axis(node, scale, x).to(x.dtype))
    if zero is not None:
        steps = steps + _along_axis(node, zero, x).to(x.dtype)
    limits = torch.iinfo(dtype)
    return (torch.clamp(steps, limits.min, limits.max).to(dtype),)


def _dequantize(node: Node, inputs: Tensors, opset: int) -> tuple[Tensor, ...]:
    x, scale, zero = given(node, inputs, 0), given(node, inputs, 1), at(inputs, 2)
    steps = x.to(scale.dtype)
    if zero is not None:
        steps = steps - _along_axis(node, zero, x).to(scale.dtype)
    return (steps * _along_axis(node, scale, x),)


def _row(compute: Compute) -> Operator:
    return Operator(family=Family.ELEMENTWISE, compute=compute, shape=broadcasting)


_FUNCTIONS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "Abs": torch.abs,
    "Acos": torch.acos,
    "Acosh": torch.acosh,
    "Asin": torch.asin,
    "Asinh": torch.asinh,
    "Atan": torch.atan,
    "Atanh": torch.atanh,
    "BitwiseNot": torch.bitwise_not,
    "Ceil": torch.ceil,
    "Cos": torch.cos,
    "Cosh": torch.cosh,
    "Erf": torch.erf,
    "Exp": torch.exp,
    "Floor": torch.floor,
    "HardSwish": F.hardswish,
    "IsNaN": torch.isnan,
    "Log": torch.log,
    "Mish": F.mish,
    "Neg": torch.neg,
    "Not": torch.logical_not,
    "Reciprocal": torch.reciprocal,
    "Relu": torch.relu,
    "Round": torch.round,
    "Sigmoid": torch.sigmoid,
    "Sign": torch.sign,
    "Sin": torch.sin,
    "Sinh": torch.sinh,
    "Softplus": _softplus,
    "Softsign": F.softsign,
    "Sqrt": torch.sqrt,
    "Tan": torch.tan,
    "Tanh": torch.tanh,
}

_TOLD: Mapping[str, Callable[[Node, Tensor], Tensor]] = {
    "Celu": lambda node, x: F.celu(x, number(node, "alpha", 1.0)),
    "Elu": lambda node, x: F.elu(x, number(node, "alpha", 1.0)),
    "Gelu": _gelu,
    "HardSigmoid": _hard_sigmoid,
    "IsInf": _is_infinite,
    "LeakyRelu": lambda node, x: F.leaky_relu(x, number(node, "alpha", 0.01)),
    "Selu": _selu,
    "Shrink": _shrink,
    "Swish": _swish,
    "ThresholdedRelu": _thresholded,
}

_PAIRS: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = {
    "Add": torch.add,
    "And": torch.logical_and,
    "BitwiseAnd": torch.bitwise_and,
    "BitwiseOr": torch.bitwise_or,
    "BitwiseXor": torch.bitwise_xor,
    "Div": _divide,
    "Equal": torch.eq,
    "Greater": torch.gt,
    "GreaterOrEqual": torch.ge,
    "Less": torch.lt,
    "LessOrEqual": torch.le,
    "Max": torch.maximum,
    "Min": torch.minimum,
    "Mul": torch.mul,
    "Or": torch.logical_or,
    "PRelu": _prelu,
    "Pow": _power,
    "Sub": torch.sub,
    "Sum": torch.add,
    "Xor": torch.logical_xor,
}

ELEMENTWISE: Mapping[str, Operator] = {
    **{name: _row(_apply(function)) for name, function in _FUNCTIONS.items()},
    **{name: _row(_apply_told(function)) for name, function in _TOLD.items()},
    **{name: _row(_fold(function)) for name, function in _PAIRS.items()},
    "BatchNormalization": Operator(
        family=Family.ELEMENTWISE, compute=_batch_norm, shape=per_channel
    ),
    "Cast": Operator(family=Family.ELEMENTWISE, compute=_cast, shape=as_first),
    "CastLike": Operator(family=Family.ELEMENTWISE, compute=_cast_like, shape=as_first),
    "Clip": Operator(family=Family.ELEMENTWISE, compute=_clip, shape=as_first),
    "DequantizeLinear": Operator(
        family=Family.ELEMENTWISE, compute=_dequantize, shape=_quantized_shape
    ),
    "Dropout": Operator(family=Family.ELEMENTWISE, compute=_dropout, shape=as_first),
    "Mean": _row(_mean),
    "Mod": _row(_mod),
    "QuantizeLinear": Operator(
        family=Family.ELEMENTWISE, compute=_quantize, shape=_quantized_shape
    ),
    "Where": _row(_where),
}
