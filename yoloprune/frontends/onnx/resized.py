"""ONNX networks for images of another size: the sizes that a file says follow."""

import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from yoloprune.errors import GraphError, UsageError
from yoloprune.frontends.onnx.document import OnnxDocument
from yoloprune.frontends.onnx.protos import captured
from yoloprune.frontends.onnx.read import read
from yoloprune.frontends.onnx.write import written
from yoloprune.graph.graph import Graph, Node
from yoloprune.graph.model import Model
from yoloprune.graph.operators.operator import Shape
from yoloprune.graph.shapes import Facts, facts

if TYPE_CHECKING:
    import onnx

SAID_AT = {"Reshape": 1, "Resize": 3}
"""Where operators are told the sizes that they give."""

POOLS = ("AveragePool", "MaxPool", "LpPool")


def image_size(model: Model) -> tuple[int, int]:
    """Height and width of what a network reads; raises `GraphError` for other than images."""
    shapes = facts(model.graph).shapes
    found = [shapes[name] for name in model.graph.inputs]
    if len(found) != 1 or len(found[0]) != 4 or found[0][1] not in (1, 3):
        raise GraphError(f"{model.document.title}: it does not read one image (B, C, H, W)")
    return found[0][2], found[0][3]


def for_input_size(model: Model, height: int, width: int) -> Model:
    """The same ONNX network for images of another size, whatever it left open of it.

    The sizes that `Reshape` and `Resize` are told follow; of two that one becomes, the first is the
    height's. Raises `GraphError` where something else in the file holds for the old size alone: a
    table of anchor points, an embedding of positions, a pool over the whole map.
    """
    document, before = model.document, image_size(model)
    if not isinstance(document, OnnxDocument):
        raise UsageError(f"{document.title}: an ONNX network is needed for this")
    if (height, width) == before:
        return model
    scale = height / before[0], width / before[1]
    (name,) = model.graph.inputs
    batch, channels, *_ = model.graph.inputs[name].shape
    given = replace(model.graph.inputs[name], shape=(batch, channels, height, width))
    graph = replace(model.graph, inputs={name: given}, observed={})
    try:
        told, graph = _told(model.graph, graph, scale)
        _check(model.graph, facts(model.graph), facts(graph))
        proto = _restated(document, model, graph, told)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "sized.onnx")
            path.write_bytes(proto.SerializeToString())
            made = read(path, document.title)
    except GraphError as error:
        raise GraphError(
            f"{document.title}: it is for images of {before[1]}x{before[0]}, and not of "
            f"{width}x{height}: {error}; export it anew for that size"
        ) from error
    return replace(made, document=made.document.unread())


def _told(dense: Graph, graph: Graph, scale: tuple[float, float]) -> tuple[dict[str, Shape], Graph]:
    """What nodes are told anew of sizes that they give, by their first output; and the graph."""
    old = facts(dense)
    told: dict[str, Shape] = {}
    nodes: list[Node] = []
    constants = dict(graph.constants)
    for node in graph.nodes:
        place = SAID_AT.get(node.operator)
        target = node.inputs[place] if place is not None and len(node.inputs) > place else ""
        if target in old.known and target not in old.static and old.known[target].size:
            begun = replace(graph, constants=constants, nodes=tuple(nodes), outputs={})
            now = facts(begun).shapes[node.inputs[0]]
            was = old.shapes[node.inputs[0]], old.shapes[node.outputs[0]]
            if now != was[0]:
                made = _shape(node, was, now, scale)
                told[node.outputs[0]] = made
                own = f"{node.outputs[0]}_shape_at_{now}"
                constants[own] = np.array(made, np.int64)
                inputs = tuple(own if n == place else each for n, each in enumerate(node.inputs))
                node = replace(node, inputs=inputs)
        nodes.append(node)
    return told, replace(graph, constants=constants, nodes=tuple(nodes))


def _shape(node: Node, was: tuple[Shape, Shape], now: Shape, scale: tuple[float, float]) -> Shape:
    """What a node gives of what it reads now, by what it read and gave; raises `GraphError`."""
    before, after = was
    if node.operator == "Resize":
        found = [n * b / a for n, a, b in zip(now, before, after, strict=True)]
        if all(size == int(size) for size in found):
            return tuple(map(int, found))
    else:
        runs = [_run(before[a], now[a], after[b], scale) for a, b in _runs(before, after)]
        if None not in runs:
            return tuple(size for run in runs if run is not None for size in run)
    raise GraphError(f"{node.operator} {node.name} makes {list(after)} of {list(before)}")


def _runs(before: Shape, after: Shape) -> Iterator[tuple[slice, slice]]:
    """Shortest runs of axes that become one another where an array is reshaped."""
    one = other = 0
    while one < len(before) or other < len(after):
        first, second = one, other
        one, other = min(one + 1, len(before)), min(other + 1, len(after))
        while (a := prod(before[first:one])) != (b := prod(after[second:other])):
            one, other = (one + 1, other) if a < b else (one, other + 1)
        yield slice(first, one), slice(second, other)


def _run(before: Shape, now: Shape, after: Shape, scale: tuple[float, float]) -> Shape | None:
    """What a run of axes becomes now; None where nothing shows it."""
    if now == before:
        return after
    if after == before:
        return now
    wide = [size for size in after if size != 1]
    made = [size * by for size, by in zip(wide, scale, strict=False)]
    if len(wide) < 2:
        made = [prod(now)]
    if len(made) < len(wide) or prod(made) != prod(now) or any(size % 1 for size in made):
        return None
    left = map(int, made)
    return tuple(1 if size == 1 else next(left) for size in after)


def _restated(
    document: OnnxDocument, model: Model, graph: Graph, told: Mapping[str, Shape]
) -> "onnx.ModelProto":
    """The file of a graph for another size, with its numbers and what its nodes are told now."""
    from onnx import load_external_data_for_model, numpy_helper

    proto, shapes = written(document, model.parameters), facts(graph).shapes
    load_external_data_for_model(proto, str(document.folder))
    # What it said of shapes was for the old size.
    del proto.graph.value_info[:]
    (name,) = graph.inputs
    for value in (*proto.graph.input, *proto.graph.output):
        if value.name == name or value.name in graph.outputs:
            sizes = zip(value.type.tensor_type.shape.dim, shapes[value.name], strict=True)
            for place, (size, own) in enumerate(sizes):
                if place or not size.dim_param:
                    size.dim_value = own
    for node in proto.graph.node:
        if node.output and node.output[0] in told:
            said = f"{node.output[0]}_at_{'x'.join(map(str, shapes[name][2:]))}"
            array = np.array(told[node.output[0]], np.int64)
            proto.graph.initializer.append(numpy_helper.from_array(array, said))
            node.input[SAID_AT[node.op_type]] = said
    wanted = {each for node in proto.graph.node for each in (*node.input, *captured(node))}
    wanted.update(value.name for value in proto.graph.output)
    for number in reversed(range(len(proto.graph.initializer))):
        if proto.graph.initializer[number].name not in wanted:
            del proto.graph.initializer[number]
    return proto


def _check(graph: Graph, before: Facts, after: Facts) -> None:
    """Raise `GraphError` for nodes that pick, or pool over, what they did at the old size."""
    for node in graph.nodes:
        source = node.inputs[0]
        was, now = before.shapes[source], after.shapes[source]
        if was == now or source in before.known:
            continue
        changed = [n for n, (a, b) in enumerate(zip(was, now, strict=True)) if a != b]
        if node.operator in POOLS and "kernel_shape" in node.attributes:
            window = np.array(node.attributes["kernel_shape"])
            if any(n >= 2 and window[n - 2] >= was[n] for n in changed):
                raise GraphError(f"{node.operator} {node.name} pools over a map of {list(was[2:])}")
        if node.operator == "Gather":
            picks: list[int] = [int(node.attributes.get("axis", 0)) % len(was)]  # type: ignore[arg-type]
        elif node.operator == "Slice":
            picks = _sliced(node, was, now, before)
        else:
            continue
        if set(picks) & set(changed):
            raise GraphError(f"{node.operator} {node.name} picks places of {list(was)}")


def _sliced(node: Node, was: Shape, now: Shape, before: Facts) -> list[int]:
    """Axes of which a `Slice` takes a part that is told in places of the old size."""
    starts, ends, *rest = (before.known.get(name) for name in node.inputs[1:])
    if starts is None or ends is None:
        return []
    axes = rest[0] if rest and rest[0] is not None else np.arange(len(starts))
    return [
        int(axis) % len(was)
        for start, end, axis in zip(starts, ends, axes, strict=True)
        if abs(int(start)) > 1 or int(end) < max(was[axis], now[axis])
    ]
