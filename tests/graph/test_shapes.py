"""Shapes and known values before a run, against those of a run."""

import time

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from tests.architectures import ARCHITECTURES
from tests.random_networks import network_specs
from yoloprune.errors import GraphError
from yoloprune.frontends.darknet.lower import lower
from yoloprune.frontends.darknet.shapes import layer_shapes
from yoloprune.frontends.darknet.zoo import NETWORKS
from yoloprune.graph.builder import GraphBuilder
from yoloprune.graph.graph import Graph
from yoloprune.graph.shapes import facts


def resized_by_shape() -> Graph:
    """y = x resized to twice the size, which `Shape` tells, as exporters write it."""
    graph = GraphBuilder(opset=17)
    x = graph.input("x", ("batch", 3, "height", 8))
    shape = graph.node("shape", "Shape", x)
    size = graph.part("size", shape, 0, 2, 4)
    double = graph.node("double", "Mul", size, graph.constant("two", [2]))
    front = graph.part("front", shape, 0, 0, 2)
    target = graph.node("target", "Concat", front, double, axis=0)
    four = graph.node("four", "Add", graph.constant("one", [1]), graph.constant("three", [3]))
    rank = graph.node("rank", "Size", four)
    y = graph.node("y", "Resize", x, "", "", target, mode="nearest")
    z = graph.node("z", "Tile", y, graph.node("times", "Concat", rank, rank, rank, four, axis=0))
    return graph.build({z: ("batch", 3, "h", "w")})


def test_shape_arithmetic_is_worked_out() -> None:
    graph = resized_by_shape()
    graph = GraphBuilder(opset=17)
    x = graph.input("x", ("batch", 3, "height", 8))
    shape = graph.node("shape", "Shape", x)
    size = graph.part("size", shape, 0, 2, 4)
    double = graph.node("double", "Mul", size, graph.constant("two", [2]))
    target = graph.node("target", "Concat", graph.part("front", shape, 0, 0, 2), double, axis=0)
    four = graph.node("four", "Add", graph.constant("one", 1), graph.constant("three", 3))
    y = graph.node("y", "Resize", x, "", "", target, mode="nearest")
    found = facts(graph.build({y: (1, 3, "h", "w")}), {"batch": 2, "height": 4})
    assert found.shapes["y"] == (2, 3, 8, 16)
    assert found.known[four] == 4 and found.known[target].tolist() == [2, 3, 8, 16]
    assert found.static == {"shape", "size", "double", "front", "target"}


def test_the_shape_of_a_constant_is_a_constant() -> None:
    graph = GraphBuilder(opset=17)
    weights = graph.parameter("w", (4, 2))
    sizes = graph.node("sizes", "Shape", graph.constant("c", np.zeros((2, 3))))
    rank = graph.node("rank", "Shape", weights)
    found = facts(graph.build({sizes: (2,), rank: (2,)}))
    assert found.known[sizes].tolist() == [2, 3] and found.known[rank].tolist() == [4, 2]
    assert found.static == {rank}
    assert "w" not in found.known


def non_zero() -> Graph:
    graph = GraphBuilder(opset=17)
    y = graph.node("y", "NonZero", graph.input("x", (4,)))
    z = graph.node("z", "Transpose", y)
    return graph.build({z: ("n", 1)})


def test_what_only_a_run_can_tell_is_taken_from_one() -> None:
    with pytest.raises(GraphError, match=r"node y \(NonZero\) has a shape that is known only when"):
        facts(non_zero())
    assert facts(non_zero(), observed={"y": (1, 3)}).shapes["z"] == (3, 1)


def test_an_unknown_operator_needs_a_run() -> None:
    graph = GraphBuilder(opset=17)
    y = graph.node("y", "Det", graph.input("x", (4,)))
    made = graph.build({y: (4,)})
    with pytest.raises(GraphError, match="node y is a Det"):
        facts(made)
    assert facts(made, observed={"y": (4,)}).shapes["y"] == (4,)


def test_a_named_size_needs_a_number() -> None:
    with pytest.raises(GraphError, match="the input x has a size named 'side'"):
        graph = GraphBuilder(opset=17)
        facts(graph.build({graph.node("y", "Relu", graph.input("x", ("side",))): ("side",)}))


@pytest.mark.parametrize("name", NETWORKS | ARCHITECTURES)
def test_shapes_of_architectures_are_those_of_their_layers(name: str) -> None:
    spec = (NETWORKS | ARCHITECTURES)[name](classes=2, width=0.125, size=(64, 96))
    graph = lower(spec, decoded=True)
    found = facts(graph, {"batch": 2})
    shapes = layer_shapes(spec)
    for head in spec.heads:
        assert found.shapes[f"head_{head.index}"] == (2, *shapes[head.index])
    for output, value in graph.outputs.items():
        assert found.shapes[output] == (2, *value.shape[1:])


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(network_specs())
def test_random_networks_too(spec) -> None:
    graph = lower(spec)
    found = facts(graph)
    for output, value in graph.outputs.items():
        assert found.shapes[output] == (1, *value.shape[1:])


def test_yolov3_takes_milliseconds() -> None:
    graph = lower(NETWORKS["yolov3"]())
    times = []
    for _ in range(5):
        start = time.perf_counter()
        facts(graph)
        times.append(time.perf_counter() - start)
    print(min(times))
    assert min(times) < 0.05


def test_what_no_rule_expects_is_said_by_node() -> None:
    graph = GraphBuilder(opset=17)
    x = graph.input("x", (1, 3, 4))
    y = graph.node("flat", "Gemm", x, graph.parameter("kernel", (4, 2)))
    with pytest.raises(GraphError, match=r"node flat \(Gemm\) does not fit what it reads"):
        facts(graph.build({y: (1, 3, 2)}))
