"""Channels that say which numbers to take, and values of no dimensions or of none at all."""

import pytest

from tests.pruning.networks import random_parameters
from yoloprune.graph.builder import GraphBuilder
from yoloprune.graph.graph import Graph
from yoloprune.pruning.budget import Budget
from yoloprune.pruning.groups import analyze
from yoloprune.pruning.prune import prune


def conv(graph: GraphBuilder, name: str, x: str, filters: int, channels: int) -> str:
    kernel = graph.parameter(f"{name}.kernel", (filters, channels, 1, 1))
    return graph.node(f"{name}.relu", "Relu", graph.node(name, "Conv", x, kernel))


def coded(*, most: bool) -> Graph:
    """Activations become whole numbers, by which a table is read."""
    graph = GraphBuilder(opset=17, dtype="float64")
    x = graph.input("x", ("batch", 3, 4, 4))
    whole = graph.node("whole", "Cast", conv(graph, "coder", x, 8, 3), to=7)
    low, high = graph.constant("low", 0), graph.constant("high", 3)
    table = graph.constant("table", [5, 7, 2, 9])
    codes = graph.node("codes", "Gather", table, graph.node("code", "Clip", whole, low, high))
    shape: tuple[int | str, ...] = ("batch", 8, 4, 4)
    if most:
        codes, shape = graph.node("most", "ReduceMax", codes, axes=(1,)), ("batch", 1, 4, 4)
    y = conv(graph, "last", conv(graph, "middle", x, 8, 3), 2, 8)
    return graph.build({y: ("batch", 2, 4, 4), codes: shape})


@pytest.mark.parametrize("most", [False, True])
def test_channels_that_are_read_as_indices_stay(most: bool) -> None:
    graph = coded(most=most)
    (coder,) = (g for g in analyze(graph).groups if g.producers[0].node == "coder")
    assert coder.frozen_because is not None and "as indices by" in coder.frozen_because
    pruned = prune(graph, random_parameters(graph), budget=Budget(limits={"macs": 0.8}))
    assert pruned.graph.parameters["coder.kernel"].shape == (8, 3, 1, 1)
    assert pruned.graph.parameters["middle.kernel"].shape < (8, 3, 1, 1)


def test_a_number_of_no_dimensions_is_proven_too() -> None:
    graph = GraphBuilder(opset=17, dtype="float64")
    image = graph.input("x", (1, 3, 4, 4))
    x = conv(graph, "first", image, 8, 3)
    gate = graph.node("gate", "Sigmoid", graph.node("mean", "ReduceMean", image, keepdims=0))
    y = conv(graph, "last", graph.node("scaled", "Mul", x, gate), 2, 8)
    built = graph.build({y: (1, 2, 4, 4)})
    pruned = prune(built, random_parameters(built), budget=Budget(limits={"macs": 0.9}))
    assert pruned.proof.exactness.passed


def test_a_split_into_unequal_parts_asks_for_none() -> None:
    graph = GraphBuilder(opset=18, dtype="float64")
    x = conv(graph, "first", graph.input("x", ("batch", 3, 4, 4)), 7, 3)
    a, b = graph.nodes("parts", "Split", x, outputs=2, axis=1, num_outputs=2)
    last = conv(graph, "a", a, 2, 4), conv(graph, "b", b, 2, 3)
    y = graph.node("y", "Concat", *last, axis=1)
    built = graph.build({y: ("batch", 4, 4, 4)})
    pruned = prune(built, random_parameters(built), budget=Budget(limits={"macs": 0.8}))
    assert pruned.proof.exactness.passed
