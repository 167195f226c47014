"""What channels emit whose filters or scales are 0, by hand."""

import numpy as np
import torch

from yoloprune.graph.builder import GraphBuilder
from yoloprune.graph.operators.operator import Family
from yoloprune.graph.operators.table import OPERATORS
from yoloprune.pruning.constants import POOLS, REDUCTIONS, constants, emitted
from yoloprune.pruning.groups import analyze
from yoloprune.pruning.layers import layers_of

NAN = float("nan")


def build() -> GraphBuilder:
    """A convolution of three filters, whose norm shifts them, and one of two, whose bias does."""
    graph = GraphBuilder(opset=17, dtype="float64")
    x = graph.input("images", (1, 2, 4, 4))
    graph.node("conv", "Conv", x, graph.parameter("kernel", (3, 2, 1, 1)))
    norm = [graph.parameter(kind, (3,)) for kind in ("scale", "shift", "mean", "variance")]
    graph.node("norm", "BatchNormalization", "conv", *norm)
    other = graph.parameter("other.kernel", (2, 2, 1, 1)), graph.parameter("other.bias", (2,))
    graph.node("other", "Conv", x, *other)
    return graph


def test_constants_go_through_what_computes_moves_and_pools() -> None:
    graph = build()
    leaky = graph.node("leaky", "LeakyRelu", "norm", alpha=0.5)
    joined = graph.node("joined", "Concat", leaky, "other", axis=1)
    pooled = graph.node("pooled", "MaxPool", joined, kernel_shape=(2, 2), strides=(2, 2))
    last = graph.node("last", "Conv", pooled, graph.parameter("last.kernel", (1, 5, 1, 1)))
    dependencies = analyze(graph.build({last: (1, 1, 2, 2)}))
    arrays = {
        name: torch.ones(parameter.shape, dtype=torch.float64)
        for name, parameter in dependencies.graph.parameters.items()
    }
    arrays["scale"] = torch.tensor([0.0, 1, 0]).double()
    arrays["shift"] = torch.tensor([3.0, 5, -4]).double()
    arrays["other.kernel"][0] = 0
    arrays["other.bias"] = torch.tensor([7.0, 8]).double()
    layers, wanted = layers_of(dependencies), np.ones(dependencies.labels.count, bool)
    found = constants(dependencies, layers, arrays, wanted)

    def seen(name: str) -> list[float]:
        return found[name].expand(dependencies.labels.facts.shapes[name])[0, :, 0, 0].tolist()

    def same(name: str, expected: list[float]) -> bool:
        return np.array_equal(seen(name), expected, equal_nan=True)

    # A norm gives its shift, whatever it reads; for the second channel nothing is known.
    assert same("norm", [3, 5, -4])
    assert same("leaky", [3, 5, -2])
    assert same("other", [7, NAN])
    assert same("pooled", [3, 5, -2, 7, NAN])
    assert emitted(found, layers["last"]).tolist() == [3, 5, -2, 7, 0]
    assert same("images", [NAN, NAN])


def test_what_is_not_wanted_is_not_known() -> None:
    graph = build()
    last = graph.node("last", "Conv", "norm", graph.parameter("last.kernel", (1, 3, 1, 1)))
    dependencies = analyze(graph.build({last: (1, 1, 4, 4)}))
    arrays = {
        name: torch.zeros(parameter.shape)
        for name, parameter in dependencies.graph.parameters.items()
    }
    wanted = np.zeros(dependencies.labels.count, bool)
    wanted[dependencies.labels.values["norm"].flat[1]] = True
    found = constants(dependencies, layers_of(dependencies), arrays, wanted)
    assert found["norm"].isnan().flatten().tolist() == [True, False, True]


def test_the_table_knows_the_operators_that_are_named() -> None:
    assert {OPERATORS[name].family for name in POOLS} == {Family.SPATIAL}
    assert {OPERATORS[name].family for name in REDUCTIONS} == {Family.REDUCTION}
