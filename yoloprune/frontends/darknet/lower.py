"""A Darknet network as a graph: every section becomes nodes, every array a named parameter.

What layer 12 is made of is named `layer_12.<what>`: its nodes and values, and its parameters
`layer_12.kernel`, `.bias`, `.scale`, `.mean` and `.variance`. Layers that move nothing (dropout,
a route from one layer) have no nodes. Batch norms stay nodes of their own.
"""

from collections.abc import Mapping, Sequence
from typing import assert_never

from torch import Tensor

from yoloprune.frontends.darknet.activations import ACTIVATIONS
from yoloprune.frontends.darknet.heads import lower_boxes, raw_map
from yoloprune.frontends.darknet.shapes import Shape, layer_shapes, source_shapes
from yoloprune.frontends.darknet.spec import (
    INPUT,
    AnyLayer,
    AvgPool,
    Conv,
    Dropout,
    GaussianYolo,
    MaxPool,
    NetworkSpec,
    Region,
    Reorg,
    Route,
    Sam,
    ScaleChannels,
    Shortcut,
    Upsample,
    Yolo,
)
from yoloprune.frontends.darknet.state import BATCH_NORM_EPSILON, State
from yoloprune.graph.builder import GraphBuilder
from yoloprune.graph.graph import Graph

OPSET = 15
"""The oldest whose batch norms say themselves that they do not train; read since 2021."""

IMAGES = "images"
"""Name of the input: (batch, channels, height, width), values in [0, 1]."""

BATCH = "batch"
"""Name of a number of images that may be any."""


def lower(
    spec: NetworkSpec,
    *,
    decoded: bool = False,
    batch: int | str = BATCH,
    dtype: str = "float32",
    trained: bool = False,
) -> Graph:
    """The graph of a network in evaluation mode.

    With `trained` it is one to train: with dropouts, and for images of any size.

    Its outputs are the raw maps of the heads, `head_<layer index>`, (B, A (entries + classes), h,
    w) each, or the last layer's `output` where there is no head. With `decoded` they are `boxes`
    (B, N, 4), xyxy in input pixels, and `scores` (B, N, classes), objectness times class: then
    `CfgError` is raised where there is no head, or no common number of classes.
    """
    shapes = layer_shapes(spec)
    graph = GraphBuilder(opset=OPSET, dtype=dtype)
    values = {INPUT: graph.input(IMAGES, (batch, *spec.input_shape))}
    for layer in spec.layers:
        sources = [values[source] for source in layer.sources]
        inputs = source_shapes(layer, spec, shapes)
        values[layer.index] = _layer(graph, layer, sources, inputs, trained=trained)
    maps = {
        graph.node(raw_map(head), "Identity", values[head.index]): shapes[head.index]
        for head in spec.heads
    }
    outputs: Mapping[str, tuple[int, ...]] = maps
    if decoded:
        outputs = lower_boxes(graph, spec, shapes)
    elif not maps:
        last = len(spec.layers) - 1
        outputs = {graph.node("output", "Identity", values[last]): shapes[last]}
    return graph.build({name: (batch, *shape) for name, shape in outputs.items()})


def parameters(state: State) -> dict[str, Tensor]:
    """The arrays of a graph's parameters, by name; they are the state's own, not copies."""
    return {
        f"{_layer_name(index)}.{name}": tensor
        for index, arrays in state.items()
        for name, tensor in arrays.items()
    }


def _layer_name(index: int) -> str:
    return f"layer_{index}"


def _layer(
    graph: GraphBuilder,
    layer: AnyLayer,
    values: Sequence[str],
    shapes: Sequence[Shape],
    *,
    trained: bool,
) -> str:
    """Add a layer that reads these values of these shapes; gives its output."""
    name = _layer_name(layer.index)
    match layer:
        case Conv():
            output = _convolution(graph, layer, name, values[0], shapes[0][0])
            return _activated(graph, layer.activation, name, output)
        case Shortcut():
            total = values[0]
            for number, (other, shape) in enumerate(zip(values[1:], shapes[1:], strict=True)):
                total = _added(graph, f"{name}.sum_{number}", total, shapes[0][0], other, shape[0])
            return _activated(graph, layer.activation, name, total)
        case ScaleChannels() | Sam():
            product = graph.node(f"{name}.product", "Mul", values[1], values[0])
            return _activated(graph, layer.activation, name, product)
        case Route():
            return _route(graph, layer, name, values)
        case Upsample():
            # By ONNX's definition scales are float32, whatever the network computes in.
            factors = (1, 1, layer.stride, layer.stride)
            scales = graph.constant(f"{name}.scales", factors, dtype="float32")
            return graph.node(
                f"{name}.resize",
                "Resize",
                values[0],
                "",
                scales,
                mode="nearest",
                coordinate_transformation_mode="asymmetric",
                nearest_mode="floor",
            )
        case MaxPool():
            before, after = layer.padding // 2, layer.padding - layer.padding // 2
            return graph.node(
                f"{name}.pool",
                "MaxPool",
                values[0],
                kernel_shape=(layer.size, layer.size),
                strides=(layer.stride_y, layer.stride_x),
                pads=(before, before, after, after),
            )
        case AvgPool():
            return graph.node(f"{name}.pool", "GlobalAveragePool", values[0])
        case Reorg() if trained:
            return _reorganized_at_any_size(graph, layer, name, values[0], shapes[0][0])
        case Reorg():
            return _reorganized(graph, layer, name, values[0], shapes[0])
        case Dropout() if trained:
            ratio = graph.constant(f"{name}.ratio", layer.probability)
            return graph.node(f"{name}.dropout", "Dropout", values[0], ratio)
        case Dropout() | Yolo() | GaussianYolo() | Region():
            return values[0]
        case _:
            assert_never(layer)


def _convolution(graph: GraphBuilder, conv: Conv, name: str, value: str, channels: int) -> str:
    kernel = graph.parameter(
        f"{name}.kernel", (conv.filters, channels // conv.groups, conv.size, conv.size)
    )
    vectors = ("scale", "bias", "mean", "variance") if conv.batch_normalize else ("bias",)
    arrays = [graph.parameter(f"{name}.{vector}", (conv.filters,)) for vector in vectors]
    output = graph.node(
        f"{name}.conv",
        "Conv",
        value,
        kernel,
        *([] if conv.batch_normalize else arrays),
        kernel_shape=(conv.size, conv.size),
        strides=(conv.stride_y, conv.stride_x),
        pads=(conv.padding,) * 4,
        dilations=(conv.dilation, conv.dilation),
        group=conv.groups,
    )
    if conv.batch_normalize:
        output = graph.node(
            f"{name}.norm", "BatchNormalization", output, *arrays, epsilon=BATCH_NORM_EPSILON
        )
    return output


def _activated(graph: GraphBuilder, activation: str, name: str, value: str) -> str:
    return ACTIVATIONS[activation](graph, f"{name}.{activation}", value)


def _added(
    graph: GraphBuilder, name: str, total: str, width: int, other: str, channels: int
) -> str:
    """A sum of the width of its first term: what the other has not is taken for zeros."""
    if channels == width:
        return graph.node(name, "Add", total, other)
    if channels > width:
        return graph.node(name, "Add", total, graph.part(f"{name}.part", other, 1, 0, width))
    shared = graph.part(f"{name}.shared", total, 1, 0, channels)
    rest = graph.part(f"{name}.rest", total, 1, channels, width)
    part = graph.node(f"{name}.part", "Add", shared, other)
    return graph.node(name, "Concat", part, rest, axis=1)


def _route(graph: GraphBuilder, route: Route, name: str, values: Sequence[str]) -> str:
    parts = list(values)
    if route.groups > 1:
        # Not a slice: whatever becomes of the network, darknet cuts into equal parts.
        for number, value in enumerate(values):
            own = graph.split(f"{name}.parts_{number}", value, 1, route.groups)
            parts[number] = own[route.group_id]
    return parts[0] if len(parts) == 1 else graph.node(f"{name}.concat", "Concat", *parts, axis=1)


def _reorganized(graph: GraphBuilder, reorg: Reorg, name: str, value: str, shape: Shape) -> str:
    # Not SpaceToDepth: converters take it for torch's pixel_unshuffle, which orders otherwise. Rows
    # and channels share an axis, for engines without tensors of six.
    channels, height, width = shape
    stride, block = reorg.stride, reorg.stride**2
    if reorg.mixes_channels:
        # The memory is read as an image of stride^2 times the size and so much fewer channels:
        # darknet divides their number.
        graph.in_blocks(value, block)
        split = (0, channels * height // block, stride, width, stride)
    else:
        split = (0, channels * height // stride, stride, width // stride, stride)
    joined = (0, channels * block, height // stride, width // stride)
    rows = graph.reshape(f"{name}.rows", value, split)
    blocks = graph.node(f"{name}.blocks", "Transpose", rows, perm=(0, 2, 4, 1, 3))
    return graph.reshape(f"{name}.depth", blocks, joined)


def _reorganized_at_any_size(
    graph: GraphBuilder, reorg: Reorg, name: str, value: str, channels: int
) -> str:
    stride, block = reorg.stride, reorg.stride**2
    if not reorg.mixes_channels:
        return graph.node(f"{name}.depth", "SpaceToDepth", value, blocksize=stride)
    width = graph.part(f"{name}.width", graph.node(f"{name}.shape", "Shape", value), 0, 3, 4)
    step = graph.constant(f"{name}.step", [stride])
    columns = graph.node(f"{name}.columns", "Div", width, step)
    head = graph.constant(f"{name}.head", [0, -1, stride])
    depth = graph.constant(f"{name}.channels", [0, channels * block, -1])
    split = graph.node(f"{name}.split", "Concat", head, width, step, axis=0)
    joined = graph.node(f"{name}.joined", "Concat", depth, columns, axis=0)
    rows = graph.node(f"{name}.rows", "Reshape", value, split)
    blocks = graph.node(f"{name}.blocks", "Transpose", rows, perm=(0, 2, 4, 1, 3))
    return graph.node(f"{name}.depth", "Reshape", blocks, joined)
