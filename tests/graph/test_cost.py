"""The cost of a graph against that of the Darknet network it was lowered from, and by hand."""

import pytest
from hypothesis import given, settings

from tests.architectures import ARCHITECTURES
from tests.random_networks import network_specs
from yoloprune.frontends.darknet import cost as darknet
from yoloprune.frontends.darknet.lower import lower
from yoloprune.frontends.darknet.spec import WEIGHTS_HEADER_BYTES, NetworkSpec
from yoloprune.frontends.darknet.zoo import NETWORKS
from yoloprune.graph.builder import GraphBuilder
from yoloprune.graph.cost import cost
from yoloprune.graph.shapes import facts


def assert_same(spec: NetworkSpec) -> None:
    graph = lower(spec)
    found, expected = cost(graph, facts(graph).shapes), darknet.cost(spec)
    assert (found.params, found.macs, found.flops) == (
        expected.params,
        expected.macs,
        expected.flops,
    )
    assert found.channels == expected.channels
    assert found.weight_bytes == expected.weight_bytes - WEIGHTS_HEADER_BYTES
    macs = {layer.index: layer.macs for layer in expected.per_layer}
    for node in found.per_node:
        if node.operator == "Conv":
            assert node.macs == macs[int(node.name.split(".")[0].removeprefix("layer_"))]


@pytest.mark.parametrize("name", NETWORKS | ARCHITECTURES)
def test_architectures_cost_what_darknet_counts(name: str) -> None:
    assert_same((NETWORKS | ARCHITECTURES)[name]())


@settings(max_examples=25)
@given(network_specs())
def test_random_networks_too(spec: NetworkSpec) -> None:
    assert_same(spec)


def test_by_hand() -> None:
    graph = GraphBuilder(opset=17)
    x = graph.input("x", (1, 4, 5))
    weights, bias = graph.parameter("w", (5, 6)), graph.parameter("b", (6,))
    first = graph.node("first", "MatMul", x, weights)
    biased = graph.node("biased", "Add", first, bias)
    turned = graph.node("turned", "Transpose", biased, perm=(0, 2, 1))
    product = graph.node("product", "MatMul", turned, biased)
    back = graph.node("back", "Transpose", weights)
    last = graph.node("last", "MatMul", biased, back)
    found = cost(made := graph.build({product: (1, 6, 6), last: (1, 4, 5)}), facts(made).shapes)
    by_name = {node.name: node for node in found.per_node}
    # Shared weights are counted once, and a product of two activations has no channels.
    assert (found.params, found.weight_bytes) == (30 + 6, 4 * (30 + 6))
    assert by_name["first"].macs == 4 * 5 * 6 and by_name["first"].channels == 6
    assert by_name["product"].macs == 6 * 4 * 6 and by_name["product"].channels == 0
    assert by_name["last"].macs == 4 * 6 * 5 and by_name["last"].channels == 5
    assert found.channels == 11


def test_statistics_and_whole_numbers_are_not_trainable() -> None:
    graph = GraphBuilder(opset=17, dtype="float16")
    vectors = [graph.parameter(name, (3,)) for name in ("scale", "bias", "mean", "variance")]
    y = graph.node("y", "BatchNormalization", graph.input("x", (1, 3, 2, 2)), *vectors)
    found = cost(made := graph.build({y: (1, 3, 2, 2)}), facts(made).shapes)
    assert (found.params, found.weight_bytes, found.macs) == (6, 24, 0)
