"""Random graphs for property tests: blocks that detectors are made of, of every operator row.

A graph is drawn block by block; each block reads feature maps (B, C, H, W) that are there and gives
a new one. What the blocks draw is small, so that a property sees thousands of them.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from hypothesis import strategies as st
from torch import Tensor

from yoloprune.graph.builder import GraphBuilder
from yoloprune.graph.graph import Graph, Node
from yoloprune.graph.operators.table import OPERATORS

Shape = tuple[int, ...]


class Writer:
    """A graph in the making that knows its shapes."""

    def __init__(self, draw: st.DrawFn, opset: int) -> None:
        self.draw = draw
        self.graph = GraphBuilder(opset=opset, dtype="float64")
        self.opset = opset
        self.shapes: dict[str, Shape] = {}
        self.known: dict[str, np.ndarray] = {}
        self.maps: list[str] = []
        self.count = 0

    def integer(self, low: int, high: int) -> int:
        """A drawn number."""
        return self.draw(st.integers(low, high))

    def one_of(self, choices: Sequence[Any]) -> Any:
        """A drawn choice."""
        return self.draw(st.sampled_from(choices))

    def name(self, what: str) -> str:
        """A name that is new."""
        self.count += 1
        return f"{what}_{self.count}"

    def constant(self, values: Any, dtype: str | None = None) -> str:
        """Numbers of the graph itself."""
        name = self.graph.constant(self.name("constant"), values, dtype)
        array = np.array(values)
        self.known[name], self.shapes[name] = array, array.shape
        return name

    def parameter(self, *shape: int, what: str = "weight") -> str:
        """Trained numbers; their values follow from the first word of the name."""
        name = self.graph.parameter(self.name(what), shape)
        self.shapes[name] = shape
        return name

    def node(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """A node with one output."""
        name = self.graph.node(self.name(operator.lower()), operator, *inputs, **attributes)
        self._measure(operator, inputs, (name,), attributes)
        return name

    def nodes(
        self, operator: str, *inputs: str, outputs: int, **attributes: Any
    ) -> tuple[str, ...]:
        """A node with several."""
        name = self.name(operator.lower())
        names = self.graph.nodes(name, operator, *inputs, outputs=outputs, **attributes)
        self._measure(operator, inputs, names, attributes)
        return names

    def _measure(
        self, operator: str, inputs: tuple[str, ...], outputs: tuple[str, ...], attributes: Any
    ) -> None:
        node = Node(
            name=outputs[0],
            operator=operator,
            inputs=inputs,
            outputs=outputs,
            attributes=attributes,
        )
        shapes = [self.shapes.get(name) for name in inputs]
        known = [self.known.get(name) for name in inputs]
        given = OPERATORS[operator].shape(node, shapes, known, self.opset)
        self.shapes.update(zip(outputs, given, strict=True))

    def conv(self, x: str, filters: int, size: int = 1, **attributes: Any) -> str:
        """A convolution that keeps the size of maps."""
        groups = attributes.get("group", 1)
        kernel = self.parameter(filters, self.shapes[x][1] // groups, size, size)
        bias = [self.parameter(filters, what="bias")] if self.integer(0, 1) else []
        return self.node("Conv", x, kernel, *bias, pads=(size // 2,) * 4, **attributes)

    def any_map(self) -> str:
        """A feature map that is there: the last one, most of the time."""
        return self.one_of((*self.maps, *[self.maps[-1]] * 3))

    def channels(self) -> int:
        """A number of channels."""
        return self.one_of((1, 2, 3, 4, 6, 8))


def _conv(g: Writer) -> str:
    return g.conv(g.any_map(), g.channels(), g.one_of((1, 3)))


def _norm(g: Writer) -> str:
    x = g.any_map()
    vectors = [
        g.parameter(g.shapes[x][1], what=what) for what in ("scale", "bias", "mean", "variance")
    ]
    return g.node("BatchNormalization", x, *vectors)


ACTIVATIONS: dict[str, dict[str, Any]] = {
    "Relu": {}, "LeakyRelu": {"alpha": 0.2}, "Sigmoid": {}, "Tanh": {}, "Elu": {}, "Selu": {},
    "Softplus": {}, "Softsign": {}, "HardSigmoid": {}, "HardSwish": {}, "Mish": {}, "Exp": {},
    "Abs": {}, "Neg": {}, "Sin": {}, "Cos": {}, "Erf": {}, "Floor": {}, "Gelu": {}, "Identity": {},
    "Sign": {}, "Ceil": {}, "Celu": {}, "ThresholdedRelu": {},
}  # fmt: skip


def _activation(g: Writer) -> str:
    operator = g.one_of(sorted(set(ACTIVATIONS) & set(OPERATORS)))
    return g.node(operator, g.any_map(), **ACTIVATIONS[operator])


def _prelu(g: Writer) -> str:
    x = g.any_map()
    return g.node("PRelu", x, g.parameter(g.one_of((1, g.shapes[x][1])), 1, 1))


def _clip(g: Writer) -> str:
    return g.node("Clip", g.any_map(), g.constant(-0.5), g.constant(1.5))


def _residual(g: Writer) -> str:
    x = g.any_map()
    y = g.conv(x, g.shapes[x][1], g.one_of((1, 3)))
    operator = g.one_of(("Add", "Sub", "Mul", "Max", "Min"))
    return g.node(operator, *g.one_of(((x, y), (y, x))))


def _scaled(g: Writer) -> str:
    x = g.any_map()
    channels = g.shapes[x][1]
    shape = g.one_of(((1,), (channels, 1, 1), (1, channels, 1, 1), ()))
    array = g.one_of((g.parameter(*shape), g.constant(np.full(shape, 0.5))))
    return g.node(g.one_of(("Add", "Mul", "Sub", "Div")), x, array)


def _where(g: Writer) -> str:
    x = g.any_map()
    y = g.conv(x, g.shapes[x][1])
    return g.node("Where", g.node("Greater", x, g.constant(0.1)), x, y)


def _depthwise(g: Writer) -> str:
    x = g.any_map()
    channels = g.shapes[x][1]
    return g.conv(x, channels * g.integer(1, 2), 3, group=channels)


def _grouped(g: Writer) -> str:
    x = g.conv(g.any_map(), g.one_of((4, 6, 8)))
    return g.conv(x, g.one_of((4, 6, 8)) // 2 * 2, 3, group=2)


def _transposed(g: Writer) -> str:
    x = g.any_map()
    filters, channels = g.channels(), g.shapes[x][1]
    kind = g.integer(0, 2)
    group = channels if kind == 1 else 1
    kernel = g.parameter(channels, filters, 3, 3)
    bias = [g.parameter(filters * group, what="bias")] if g.integer(0, 1) else []
    return g.node("ConvTranspose", x, kernel, *bias, pads=(1,) * 4, group=group)


def _concat(g: Writer) -> str:
    x = g.any_map()
    parts = [x, *(m for m in g.maps if g.shapes[m][2:] == g.shapes[x][2:] and g.integer(0, 1))]
    if g.integer(0, 2) == 0:
        parts.append(g.constant(np.full((1, 2, *g.shapes[x][2:]), 0.5)))
    return g.node("Concat", *parts, axis=1)


def _split(g: Writer) -> str:
    """Some of the channels through a convolution, the others beside it."""
    x = g.conv(g.any_map(), g.one_of((2, 4, 6, 8)))
    channels = g.shapes[x][1]
    kind = g.integer(0, 2)
    if kind == 0:
        a, b = g.nodes("Split", x, outputs=2, axis=1)
    elif kind == 1:
        first = g.integer(1, channels - 1)
        sizes = g.constant([first, channels - first])
        a, b = g.nodes("Split", x, sizes, outputs=2, axis=1)
    else:
        middle = g.integer(1, channels - 1)
        a = _slice(g, x, 1, 0, middle)
        b = _slice(g, x, 1, middle - channels, 2**62)
    return g.node("Concat", a, b, g.conv(b, g.channels(), 3), axis=1)


def _slice(g: Writer, x: str, axis: int, start: int, end: int) -> str:
    bounds = ([start], [end], [axis], [1])
    return g.node("Slice", x, *map(g.constant, bounds))


def _gather(g: Writer) -> str:
    x = g.any_map()
    channels = g.shapes[x][1]
    indices = [g.integer(-channels, channels - 1) for _ in range(g.integer(1, channels))]
    return g.node("Gather", x, g.constant(indices), axis=1)


def _shuffle(g: Writer) -> str:
    """The channels of several branches by turns, at times flattened in the same move."""
    x = g.one_of((g.any_map(), g.conv(g.any_map(), g.one_of((4, 6, 8)))))
    _, channels, height, width = g.shapes[x]
    parts = g.one_of([n for n in (1, 2, 3, 4) if channels % n == 0])
    apart = g.node("Reshape", x, g.constant([0, parts, channels // parts, height, width]))
    if g.integer(0, 3) == 0:
        apart = g.node("Tanh", apart)
    turned = g.node("Transpose", apart, perm=(0, 2, 1, 3, 4))
    if g.integer(0, 3) == 0:
        rows = g.node("Reshape", turned, g.constant([0, channels, height * width]))
        return g.node("Reshape", rows, g.constant([0, channels, height, width]))
    if g.integer(0, 3) == 0:
        flat = g.node("Reshape", turned, g.constant([1, -1]))
        return g.node("Reshape", flat, g.constant([1, -1, height, width]))
    return g.node("Reshape", turned, g.constant([0, -1, height, width]))


def _stepped(g: Writer) -> str:
    """Every other channel beside those between."""
    x = g.any_map()
    channels = g.shapes[x][1]
    if channels < 2:
        return x
    ends = (([0], [2**31], [1], [2]), ([1], [2**31], [1], [2]), ([-1], [-(2**31)], [1], [-2]))
    first, second = (g.one_of(ends) for _ in range(2))
    a = g.node("Slice", x, *map(g.constant, first))
    b = g.node("Slice", x, *map(g.constant, second))
    return g.node("Concat", g.conv(a, 2), b, axis=1)


def _packed_tokens(g: Writer) -> str:
    """Attention over places, with q, k and v of all heads packed behind one another."""
    x = g.any_map()
    _, channels, height, width = g.shapes[x]
    places, heads, size = height * width, g.integer(1, 3), g.integer(1, 3)
    rows = g.node("Reshape", x, g.constant([0, channels, places]))
    rows = g.node("Transpose", rows, perm=(0, 2, 1))
    packed = g.node("MatMul", rows, g.parameter(channels, 3 * heads * size))
    if g.integer(0, 1):
        packed = g.node("Add", packed, g.parameter(3 * heads * size, what="bias"))
    packed = g.node("Reshape", packed, g.constant([0, places, 3, heads, size]))
    packed = g.node("Transpose", packed, perm=(2, 0, 3, 1, 4))
    if g.integer(0, 1):
        q, k, v = (g.node("Gather", packed, g.constant(n), axis=0) for n in range(3))
    else:
        sizes = [g.constant([1, 1, 1])] if g.integer(0, 1) or g.opset < 18 else []
        parts = g.nodes("Split", packed, *sizes, outputs=3, axis=0)
        q, k, v = (g.node("Squeeze", part, g.constant([0])) for part in parts)
    if g.integer(0, 1):
        q = g.node("Mul", q, g.constant(0.3))
    weights = g.node("MatMul", q, g.node("Transpose", k, perm=(0, 1, 3, 2)))
    mixed = g.node("MatMul", g.node("Softmax", weights, axis=-1), v)
    if g.integer(0, 1):
        mixed = g.node("Tanh", mixed)
    turned = g.node("Transpose", mixed, perm=g.one_of(((0, 2, 1, 3), (0, 2, 3, 1))))
    out = g.node("Reshape", turned, g.constant([0, places, heads * size]))
    out = g.node("Add", rows, g.node("MatMul", out, g.parameter(heads * size, channels)))
    out = g.node("Transpose", out, perm=(0, 2, 1))
    return g.node("Reshape", out, g.constant([0, channels, height, width]))


def _heads_apart(g: Writer) -> str:
    """Attention whose q, k and v are given one by one, to heads that share k and v or do not."""
    x = g.any_map()
    _, channels, height, width = g.shapes[x]
    places, heads, size = height * width, g.integer(1, 3), g.integer(1, 3)
    shared = g.one_of((1, heads))

    def given(heads: int, order: tuple[int, ...]) -> str:
        apart = g.conv(x, heads * size)
        apart = g.node("Reshape", apart, g.constant([0, heads, size, places]))
        return g.node("Transpose", apart, perm=order)

    q, k = given(heads, (0, 1, 3, 2)), given(shared, (0, 1, 2, 3))
    v = given(shared, (0, 1, 3, 2))
    mixed = g.node("MatMul", g.node("Softmax", g.node("MatMul", q, k), axis=-1), v)
    mixed = g.node("Transpose", mixed, perm=(0, 1, 3, 2))
    mixed = g.node("Reshape", mixed, g.constant([0, heads * size, height, width]))
    return g.node("Add", x, g.conv(mixed, channels))


def _derived(g: Writer) -> str:
    """A kernel that is computed from parameters: scaled, normalized, joined, turned, unpacked."""
    x = g.any_map()
    columns, filters = g.shapes[x][1], g.one_of((2, 3, 4))
    kind = g.integer(0, 6)
    if kind == 0:
        kernel = g.node("Reshape", g.parameter(filters, columns * 9), g.constant([0, -1, 3, 3]))
    elif kind == 1:
        gain = g.parameter(filters, 1, 1, 1, what="scale")
        direction = g.parameter(filters, columns, 3, 3)
        kernel = g.node("Div", direction, _reduced(g, "ReduceL2", direction, [1, 2, 3]))
        kernel = g.node("Mul", kernel, gain)
    elif kind == 2:
        parts = [g.parameter(filters, columns, 3, 3), g.parameter(2, columns, 3, 3)]
        kernel = g.node("Concat", *parts, axis=g.one_of((0, -4)))
    elif kind == 3:
        kernel = g.node("Transpose", g.parameter(3, columns, 3, filters), perm=(3, 1, 0, 2))
    elif kind == 4:
        codes = g.constant(np.arange(filters * columns * 9).reshape(filters, columns, 3, 3), "int8")
        kernel = g.node("DequantizeLinear", codes, g.parameter(filters, what="scale"), axis=0)
        kernel = g.node("Mul", kernel, g.constant(0.05))
    elif kind == 5:
        row = g.node("Unsqueeze", g.parameter(columns, 3, 3), g.constant([0]))
        kernel = g.node("Mul", g.parameter(filters, 1, 1, 1), row)
    else:
        kernel = g.node("Neg", g.parameter(columns, 1, 3, 3))
        return g.node("Conv", x, kernel, pads=(1,) * 4, group=columns)
    inputs = (x, kernel)
    if g.integer(0, 1):
        count = g.shapes[kernel][0]
        inputs = (*inputs, g.node("Sub", g.parameter(count), g.parameter(g.one_of((1, count)))))
    return g.node("Conv", *inputs, pads=(1,) * 4)


def _frozen_norm(g: Writer) -> str:
    """A batch norm written out: gains and shifts that are computed from its four vectors."""
    x = g.any_map()
    gain, shift, mean, variance = (
        g.parameter(g.shapes[x][1], what=what) for what in ("scale", "bias", "mean", "variance")
    )
    gain = g.node("Div", gain, g.node("Sqrt", g.node("Add", variance, g.constant(1e-3))))
    shift = g.node("Sub", shift, g.node("Mul", mean, gain))
    shape = g.constant(g.one_of(((1, -1, 1, 1), (-1, 1, 1), (1, g.shapes[x][1], 1, 1))))
    gain, shift = (g.node("Reshape", own, shape) for own in (gain, shift))
    return g.node("Add", g.node("Mul", x, gain), shift)


def _derived_flat(g: Writer) -> str:
    """Matrices that are turned, scaled or shared before they multiply."""
    x = g.any_map()
    channels = g.shapes[x][1]
    flat = g.node("Flatten", g.node("GlobalAveragePool", x))
    matrix = g.parameter(3, channels)
    hidden = g.node("MatMul", flat, g.node("Transpose", matrix, perm=(1, 0)))
    hidden = g.node("Tanh", hidden)
    if g.integer(0, 1):
        # The same matrix, and a scaled one, read from the other side.
        matrix = g.node("Mul", matrix, g.parameter(channels, what="scale"))
        gate = g.node("Gemm", hidden, matrix)
    else:
        gate = g.node("Gemm", hidden, g.node("Exp", g.parameter(channels, 3)), transB=1)
    return g.node("Mul", x, g.node("Reshape", gate, g.constant([1, channels, 1, 1])))


def _excite(g: Writer) -> str:
    x = g.any_map()
    mean = g.node("GlobalAveragePool", x)
    gate = g.conv(g.node("Relu", g.conv(mean, 2)), g.shapes[x][1])
    return g.node("Mul", x, g.node("Sigmoid", gate))


def _excite_flat(g: Writer) -> str:
    """Through a vector and matrices."""
    x = g.any_map()
    channels = g.shapes[x][1]
    flat = g.node("Flatten", g.node("GlobalAveragePool", x))
    turned = g.integer(0, 1)
    hidden = g.node(
        "Gemm", flat, g.parameter(*((3, channels) if turned else (channels, 3))),
        g.parameter(3, what="bias"), transB=turned,
    )  # fmt: skip
    gate = g.node("MatMul", g.node("Relu", hidden), g.parameter(3, channels))
    gate = g.node("Add", gate, g.parameter(channels, what="bias"))
    gate = g.node("Reshape", g.node("Sigmoid", gate), g.constant([0, channels, 1, 1]))
    return g.node("Mul", x, gate)


def _spatial_attention(g: Writer) -> str:
    x = g.any_map()
    if g.integer(0, 1):
        mask = g.conv(x, 1)
    else:
        operator = g.one_of(("ReduceSum", "ReduceMean", "ReduceMax", "ReduceL2", "ReduceSumSquare"))
        mask = _reduced(g, operator, x, [1])
    return g.node("Mul", x, g.node("Sigmoid", mask))


def _reduced(g: Writer, operator: str, x: str, axes: list[int], keepdims: int = 1) -> str:
    if g.opset >= 18 or (operator == "ReduceSum" and g.opset >= 13):
        return g.node(operator, x, g.constant(axes), keepdims=keepdims)
    return g.node(operator, x, axes=tuple(axes), keepdims=keepdims)


def _attention(g: Writer) -> str:
    """Attention over places, with heads."""
    x = g.any_map()
    _, channels, height, width = g.shapes[x]
    heads, size = g.integer(1, 2), g.integer(1, 3)
    packed = g.conv(x, 3 * heads * size)
    packed = g.node("Reshape", packed, g.constant([1, heads, 3 * size, height * width]))
    sizes = g.constant([size] * 3)
    q, k, v = g.nodes("Split", packed, sizes, outputs=3, axis=2)
    if g.integer(0, 1):
        q = g.node("Mul", q, g.constant(0.5)) if g.integer(0, 1) else g.node("Tanh", q)
    weights = g.node("MatMul", g.node("Transpose", q, perm=(0, 1, 3, 2)), k)
    weights = g.node("Softmax", g.node("Mul", weights, g.constant(0.3)), axis=-1)
    mixed = g.node("MatMul", v, g.node("Transpose", weights, perm=(0, 1, 3, 2)))
    mixed = g.node("Reshape", mixed, g.constant([1, heads * size, height, width]))
    return g.node("Add", x, g.conv(mixed, channels))


def _tokens(g: Writer) -> str:
    """Places as tokens through a normalizer and matrices."""
    x = g.any_map()
    _, channels, height, width = g.shapes[x]
    rows = g.node("Reshape", x, g.constant([1, channels, height * width]))
    rows = g.node("Transpose", rows, perm=(0, 2, 1))
    if g.integer(0, 1) and g.opset >= 17:
        vectors = [g.parameter(channels, what=what) for what in ("scale", "bias")]
        rows = g.node("LayerNormalization", rows, *vectors, axis=-1)
    hidden = g.node("MatMul", rows, g.parameter(channels, 4))
    hidden = g.node("Relu", g.node("Add", hidden, g.parameter(4, what="bias")))
    out = g.node("MatMul", hidden, g.parameter(4, channels))
    out = g.node("Transpose", g.node("Add", rows, out), perm=(0, 2, 1))
    return g.node("Reshape", out, g.constant([1, channels, height, width]))


def _pool(g: Writer) -> str:
    operator = g.one_of(("MaxPool", "AveragePool"))
    return g.node(operator, g.any_map(), kernel_shape=(3, 3), strides=(1, 1), pads=(1,) * 4)


def _smaller(g: Writer) -> str:
    x = g.any_map()
    if min(g.shapes[x][2:]) < 4:
        return _pool(g)
    return g.node("MaxPool", x, kernel_shape=(2, 2), strides=(2, 2))


def _pyramid(g: Writer) -> str:
    x = g.any_map()
    if min(g.shapes[x][2:]) < 4:
        return _concat(g)
    small = g.conv(g.node("AveragePool", x, kernel_shape=(2, 2), strides=(2, 2)), g.channels())
    shape = g.shapes[small]
    if g.integer(0, 1):
        scales = g.constant([1, 1, 2, 2], "float32")
        large = g.node("Resize", small, "", scales, mode="nearest")
    else:
        sizes = g.constant([1, shape[1], *g.shapes[x][2:]])
        large = g.node("Resize", small, "", "", sizes, mode="linear")
    same = g.shapes[large][2:] == g.shapes[x][2:]
    return g.node("Concat", large, x, axis=1) if same else large


def _space_to_depth(g: Writer) -> str:
    x = g.any_map()
    if min(g.shapes[x][2:]) < 2 or any(size % 2 for size in g.shapes[x][2:]):
        return _pool(g)
    deep = g.node("SpaceToDepth", x, blocksize=2)
    return g.conv(deep, g.channels())


def _depth_to_space(g: Writer) -> str:
    x = g.conv(g.any_map(), 4 * g.integer(1, 2))
    if max(g.shapes[x][2:]) > 8:
        return x
    return g.node("DepthToSpace", x, blocksize=2, mode=g.one_of(("DCR", "CRD")))


def _focus(g: Writer) -> str:
    x = g.any_map()
    if any(size % 2 or size < 2 for size in g.shapes[x][2:]):
        return _pool(g)
    parts = []
    for row in (0, 1):
        for column in (0, 1):
            bounds = ([row, column], [2**31, 2**31], [2, 3], [2, 2])
            parts.append(g.node("Slice", x, *map(g.constant, bounds)))
    return g.conv(g.node("Concat", *parts, axis=1), g.channels())


def _pad(g: Writer) -> str:
    x = g.any_map()
    if max(g.shapes[x][2:]) > 10:
        return _conv(g)
    channels = g.integer(0, 1)
    pads = [0, channels, 1, 1, 0, 0, 1, 1]
    padded = g.node("Pad", x, g.constant(pads))
    return g.conv(padded, g.channels(), 3)


def _instance_norm(g: Writer) -> str:
    x = g.any_map()
    vectors = [g.parameter(g.shapes[x][1], what=what) for what in ("scale", "bias")]
    # Where a channel hardly varies, a small epsilon makes rounding as large as what is left of it.
    return g.node("InstanceNormalization", x, *vectors, epsilon=0.1)


def _group_norm(g: Writer) -> str:
    """As older opsets write it: a norm of rows that hold a group each."""
    x = g.conv(g.any_map(), g.one_of((4, 6, 8)))
    _, channels, height, width = g.shapes[x]
    groups = g.one_of((1, 2))
    if g.opset >= 21:
        vectors = [g.parameter(channels, what=what) for what in ("scale", "bias")]
        return g.node("GroupNormalization", x, *vectors, num_groups=groups, epsilon=0.1)
    rows = g.node("Reshape", x, g.constant([0, groups, -1]))
    ones, zeros = g.constant(np.ones(groups)), g.constant(np.zeros(groups))
    rows = g.node("InstanceNormalization", rows, ones, zeros, epsilon=0.1)
    normed = g.node("Reshape", rows, g.constant([0, channels, height, width]))
    scaled = g.node("Mul", normed, g.parameter(channels, 1, 1, what="scale"))
    return g.node("Add", scaled, g.parameter(channels, 1, 1, what="bias"))


def _sampled(g: Writer) -> str:
    """Looked at in places that another branch gives."""
    x = g.any_map()
    places = g.node("Tanh", g.conv(g.any_map(), 2))
    grid = g.node("Transpose", places, perm=(0, 2, 3, 1))
    mode = "linear" if g.opset >= 20 else "bilinear"
    return g.node("GridSample", x, grid, mode=mode)


def _einsum(g: Writer) -> str:
    """Maps mixed by what other maps say: over channels, over places, or channel by channel."""
    x = g.any_map()
    _, channels, height, width = g.shapes[x]
    places = height * width
    a, b = (g.conv(x, g.one_of((channels, 4))), g.conv(x, channels))
    if g.shapes[a][1] != channels:
        a = g.conv(a, channels)
    rows = [g.node("Reshape", own, g.constant([0, channels, places])) for own in (a, b)]
    kind = g.integer(0, 3)
    if kind == 0:
        return g.node("Einsum", x, b, equation="bchw, bchw -> bchw")
    if kind == 1:
        shares = g.node("Einsum", *rows, equation="bcp,bcq->bpq")
        mixed = g.node("Einsum", rows[0], shares, equation="bcp,bpq->bcq")
    elif kind == 2:
        crossed = g.node("Einsum", *rows, equation="bcp,bdp->bcd")
        mixed = g.node("Einsum", crossed, rows[0], equation="bcd,bdp->bcp")
    else:
        gates = g.node("Einsum", *rows, equation="bcp,bcp->bc")
        mixed = g.node("Einsum", rows[0], gates, equation="bcp,bc->bcp")
    return g.node("Reshape", mixed, g.constant([0, channels, height, width]))


def _softmax(g: Writer) -> str:
    return g.node("Softmax", g.any_map(), axis=g.one_of((1, 2, -1)))


def _tile(g: Writer) -> str:
    x = g.any_map()
    if g.shapes[x][1] > 12:
        return _conv(g)
    tiled = g.node("Tile", x, g.constant([1, 2, 1, 1]))
    return g.conv(tiled, g.channels())


def _expand(g: Writer) -> str:
    x = g.any_map()
    _, channels, height, width = g.shapes[x]
    mean = g.node("GlobalMaxPool", x)
    return g.node("Expand", mean, g.constant([1, channels, height, width]))


def _unsqueezed(g: Writer) -> str:
    x = g.any_map()
    if g.opset < 13:
        return g.node("Squeeze", g.node("Unsqueeze", x, axes=(2,)), axes=(2,))
    axes = g.constant([2])
    return g.node("Squeeze", g.node("Unsqueeze", x, axes), axes)


def _unknown(g: Writer) -> str:
    """What nothing is known of as to channels."""
    return g.node("CumSum", g.any_map(), g.constant(1))


def _distribution(g: Writer) -> str:
    """Boxes as the mean of a distribution over channels."""
    x = g.conv(g.any_map(), 8)
    _, _, height, width = g.shapes[x]
    bins = g.node("Reshape", x, g.constant([1, 2, 4, height * width]))
    bins = g.node("Softmax", g.node("Transpose", bins, perm=(0, 2, 1, 3)), axis=1)
    mean = g.node("Conv", bins, g.constant(np.arange(4.0).reshape(1, 4, 1, 1)))
    return g.node("Reshape", mean, g.constant([1, 2, height, width]))


BLOCKS: dict[str, Callable[[Writer], str]] = {
    function.__name__[1:]: function
    for function in (
        _conv, _norm, _activation, _prelu, _clip, _residual, _scaled, _where, _depthwise, _grouped,
        _transposed, _concat, _split, _gather, _derived, _derived_flat, _frozen_norm, _shuffle,
        _stepped, _excite, _excite_flat, _spatial_attention, _attention, _packed_tokens,
        _heads_apart, _tokens, _pool, _smaller, _pyramid, _space_to_depth, _depth_to_space, _focus,
        _pad, _instance_norm, _group_norm, _sampled, _einsum, _softmax,
        _tile, _expand, _unsqueezed, _unknown, _distribution,
    )
}  # fmt: skip
"""What a graph is drawn from, by name."""


@st.composite
def graphs(draw: st.DrawFn, *, blocks: Sequence[str] = tuple(BLOCKS), max_blocks: int = 8) -> Graph:
    """A random graph of convolutions and some of these blocks, with one to three outputs."""
    g = Writer(draw, draw(st.sampled_from((13, 17, 20, 21))))
    shape = (1, g.integer(1, 3), g.one_of((4, 6, 7)), g.one_of((4, 5, 6)))
    x = g.graph.input("images", shape)
    g.shapes[x] = shape
    g.maps.append(g.conv(x, g.one_of((4, 6, 8)), 3))
    for _ in range(g.integer(1, max_blocks)):
        g.maps.append(BLOCKS[g.one_of(blocks)](g))
    g.maps.append(g.conv(g.maps[-1], 3))
    names = {g.maps[-1], *(m for m in g.maps if g.integer(0, 5) == 0)}
    return g.graph.build({name: g.shapes[name] for name in sorted(names)})


def random_parameters(graph: Graph, seed: int = 0) -> dict[str, Tensor]:
    """Numbers under which feature maps stay of order one; variances are positive."""
    generator = torch.Generator().manual_seed(seed)
    found = {}
    for name, parameter in graph.parameters.items():
        what = name.split("_")[0]
        if what in ("scale", "variance"):
            values = 0.5 + torch.rand(parameter.shape, generator=generator, dtype=torch.float64)
        else:
            values = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            fan_in = max(1, values[0].numel() if values.ndim > 1 else 1)
            values /= fan_in**0.5
        found[name] = values
    return found
