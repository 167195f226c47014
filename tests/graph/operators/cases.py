"""A drawing of nodes for each row of the operator table, with arrays that they can read."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

_T = TypeVar("_T")
Array = NDArray[Any]


@dataclass(frozen=True, kw_only=True)
class Case:
    """A node with what it reads.

    `runtime`: ONNX Runtime, in float32, is to judge it, for the reference gets it wrong or does not
    know it. `tolerance` is for a reference that computes in float32 on the way.
    """

    operator: str
    inputs: Sequence[Array | None]
    attributes: Mapping[str, Any] = field(default_factory=dict)
    opset: int = 18
    outputs: int = 1
    runtime: bool = False
    tolerance: float = 1e-11


class Draw:
    """Draws numbers by a seed: nothing is to be shrunk, for every case is one node."""

    def __init__(self, *seed: int) -> None:
        self.random = np.random.default_rng(seed)

    def integer(self, low: int, high: int) -> int:
        return int(self.random.integers(low, high + 1))

    def flag(self) -> int:
        return self.integer(0, 1)

    def choice(self, options: Sequence[_T]) -> _T:
        return options[self.integer(0, len(options) - 1)]

    def shape(self, low: int = 1, high: int = 4) -> tuple[int, ...]:
        return tuple(self.integer(1, 4) for _ in range(self.integer(low, high)))

    def real(self, *shape: int) -> Array:
        return self.random.normal(size=shape)

    def positive(self, *shape: int) -> Array:
        return self.random.uniform(0.5, 1.5, size=shape)

    def whole(self, low: int, high: int, *shape: int) -> Array:
        return self.random.integers(low, high + 1, size=shape)

    def truth(self, *shape: int) -> Array:
        return self.random.random(size=shape) < 0.5

    def image(self, *, channels: int | None = None, low: int = 3) -> Array:
        channels = channels or self.integer(1, 4)
        return self.real(self.integer(1, 2), channels, self.integer(low, 7), self.integer(low, 7))

    def broadcastable(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """A shape that fits another: fewer axes, some of size 1."""
        start = self.integer(0, len(shape))
        return tuple(1 if self.flag() else size for size in shape[start:])

    def axes(self, rank: int) -> tuple[int, ...]:
        found = [axis for axis in range(rank) if self.flag()] or [self.integer(0, rank - 1)]
        return tuple(axis - rank if self.flag() else axis for axis in found)


Drawing = Callable[[Draw], Case]


def ints(*numbers: int) -> Array:
    return np.array(numbers, np.int64)


def unary(operator: str, low: float = -3.0, high: float = 3.0, tolerance: float = 1e-11) -> Drawing:
    def draw(d: Draw) -> Case:
        x = d.random.uniform(low, high, size=d.shape())
        return Case(operator=operator, inputs=[x], opset=20, tolerance=tolerance)

    return draw


def slope(operator: str, names: Sequence[str], opset: int = 20) -> Drawing:
    """Attributes that are given or left out: the reference rounds the defaults to float32."""

    def draw(d: Draw) -> Case:
        given = {name: d.choice([0.25, 0.5, 1.5]) for name in names} if d.flag() else {}
        return Case(
            operator=operator,
            inputs=[d.real(*d.shape())],
            attributes=given,
            opset=opset,
            tolerance=1e-11 if given else 1e-7,
        )

    return draw


def logic(operator: str, count: int) -> Drawing:
    def draw(d: Draw) -> Case:
        shape = d.shape()
        others = [d.truth(*d.broadcastable(shape)) for _ in range(count - 1)]
        return Case(operator=operator, inputs=[d.truth(*shape), *others])

    return draw


def bits(operator: str, count: int) -> Drawing:
    def draw(d: Draw) -> Case:
        shape = d.shape()
        others = [d.whole(0, 255, *d.broadcastable(shape)) for _ in range(count - 1)]
        return Case(operator=operator, inputs=[d.whole(0, 255, *shape), *others])

    return draw


def pair(operator: str) -> Drawing:
    def draw(d: Draw) -> Case:
        shape = d.shape()
        # Rounded, so that some are equal.
        x, y = d.real(*shape), d.positive(*d.broadcastable(shape))
        inputs = [np.round(x, 0), np.round(y, 0)] if d.flag() else [x, y]
        return Case(operator=operator, inputs=inputs[:: d.choice([1, -1])])

    return draw


def division(d: Draw) -> Case:
    if d.flag():
        return Case(operator="Div", inputs=[d.whole(0, 9, 3, 2), d.whole(1, 4, 2)])
    return Case(operator="Div", inputs=[d.real(3, 2), d.positive(2)])


def remainder(d: Draw) -> Case:
    # By ONNX, the sign is that of the divisor for whole numbers, of the dividend for real ones.
    if d.flag():
        return Case(operator="Mod", inputs=[d.whole(-9, 9, 3, 2), d.whole(1, 4, 2)])
    inputs = [d.real(3, 2), d.positive(2)]
    return Case(operator="Mod", inputs=inputs, attributes={"fmod": 1})


def power(d: Draw) -> Case:
    return Case(operator="Pow", inputs=[d.positive(3, 2), d.choice([d.real(2), d.whole(0, 3, 2)])])


def many(operator: str) -> Drawing:
    def draw(d: Draw) -> Case:
        shape = d.shape()
        others = [d.real(*d.broadcastable(shape)) for _ in range(d.integer(0, 2))]
        return Case(operator=operator, inputs=[d.real(*shape), *others])

    return draw


def where(d: Draw) -> Case:
    shape = d.shape()
    inputs = [d.truth(*d.broadcastable(shape)), d.real(*shape), d.real(*d.broadcastable(shape))]
    return Case(operator="Where", inputs=inputs)


def prelu(d: Draw) -> Case:
    shape = d.shape()
    return Case(operator="PRelu", inputs=[d.real(*shape), d.real(*d.broadcastable(shape))])


def clip(d: Draw) -> Case:
    bounds = [np.array(-0.5) if d.flag() else None, np.array(0.5) if d.flag() else None]
    return Case(operator="Clip", inputs=[d.real(*d.shape()), *bounds])


def cast(d: Draw) -> Case:
    to = d.choice([1, 6, 7, 9, 11])
    return Case(operator="Cast", inputs=[d.real(*d.shape()) * 4], attributes={"to": to})


def cast_like(d: Draw) -> Case:
    like = d.choice([ints(1), np.array(1.0), np.array(True)])
    return Case(operator="CastLike", inputs=[d.real(*d.shape()) * 4, like])


def dropout(d: Draw) -> Case:
    ratio = [np.array(0.5)] if d.flag() else []
    return Case(operator="Dropout", inputs=[d.real(*d.shape()), *ratio], outputs=d.integer(1, 2))


def infinite(d: Draw) -> Case:
    x = np.array([1.0, np.inf, -np.inf, np.nan])
    names = ("detect_positive", "detect_negative")
    return Case(operator="IsInf", inputs=[x], attributes={name: d.flag() for name in names})


def gelu(d: Draw) -> Case:
    attributes = {"approximate": d.choice(["none", "tanh"])}
    return Case(
        operator="Gelu", inputs=[d.real(3, 2)], attributes=attributes, opset=20, tolerance=1e-6
    )


def batch_norm(d: Draw) -> Case:
    x = d.image(channels=3) if d.flag() else d.real(2, 3)
    vectors = [d.positive(3), d.real(3), d.real(3), d.positive(3)]
    attributes: dict[str, float] = {"epsilon": 0.125}
    if d.flag():
        attributes |= {"training_mode": 1, "momentum": 0.75}
    return Case(
        operator="BatchNormalization",
        inputs=[x, *vectors],
        attributes=attributes,
        opset=15,
        outputs=3 if "training_mode" in attributes else 1,
    )


def quantize(d: Draw) -> Case:
    shape = (2, 3, 4)
    each = d.flag()
    scale = d.positive(3) if each else np.array(0.25)
    zero = d.whole(1, 5, *scale.shape).astype(d.choice([np.int8, np.uint8]))
    attributes = {"axis": d.choice([1, -2])} if each else {}
    inputs = [d.real(*shape) * 9, scale, zero]
    return Case(operator="QuantizeLinear", inputs=inputs, attributes=attributes, opset=19)


def dequantize(d: Draw) -> Case:
    each = d.flag()
    scale = d.positive(3) if each else np.array(0.25)
    x = d.whole(0, 9, 2, 3, 4).astype(np.int8)
    zero = [d.whole(1, 5, *scale.shape).astype(np.int8)] if d.flag() else []
    attributes = {"axis": d.choice([1, -2])} if each else {}
    inputs = [x, scale, *zero]
    return Case(operator="DequantizeLinear", inputs=inputs, attributes=attributes, opset=19)


ELEMENTWISE: dict[str, Drawing] = {
    **{
        name: unary(name)
        for name in (
            *("Abs", "Atan", "Ceil", "Cos", "Cosh", "Exp", "Floor", "IsNaN"),
            *("Asinh", "Mish", "Neg", "Relu", "Round", "Sigmoid", "Sign", "Sin", "Sinh"),
            *("Softplus", "Softsign", "Tan", "Tanh"),
        )
    },
    **{name: unary(name, tolerance=1e-6) for name in ("Erf", "HardSwish")},
    **{name: unary(name, -0.9, 0.9) for name in ("Acos", "Asin", "Atanh")},
    **{name: unary(name, 1.0, 3.0) for name in ("Acosh", "Log", "Reciprocal", "Sqrt")},
    **{name: slope(name, ["alpha"]) for name in ("Celu", "Elu", "LeakyRelu", "ThresholdedRelu")},
    "HardSigmoid": slope("HardSigmoid", ["alpha", "beta"]),
    "Selu": slope("Selu", ["alpha", "gamma"]),
    "Shrink": slope("Shrink", ["lambd", "bias"]),
    "Swish": slope("Swish", ["alpha"], opset=24),
    **{name: logic(name, 2) for name in ("And", "Or", "Xor")},
    "Not": logic("Not", 1),
    **{name: bits(name, 2) for name in ("BitwiseAnd", "BitwiseOr", "BitwiseXor")},
    "BitwiseNot": bits("BitwiseNot", 1),
    **{
        name: pair(name)
        for name in (
            *("Add", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Mul", "Sub"),
        )
    },
    **{name: many(name) for name in ("Max", "Mean", "Min", "Sum")},
    "BatchNormalization": batch_norm,
    "Cast": cast,
    "CastLike": cast_like,
    "Clip": clip,
    "DequantizeLinear": dequantize,
    "Div": division,
    "Dropout": dropout,
    "Gelu": gelu,
    "IsInf": infinite,
    "Mod": remainder,
    "PRelu": prelu,
    "Pow": power,
    "QuantizeLinear": quantize,
    "Where": where,
}
