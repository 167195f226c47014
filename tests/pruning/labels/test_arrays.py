"""Arrays that are computed from parameters are cut where they come from."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from tests.pruning.plans import random_plan
from tests.random_graphs import random_parameters
from yoloprune.graph.builder import GraphBuilder
from yoloprune.graph.edits import edit
from yoloprune.graph.graph import Graph
from yoloprune.pruning.cut import cut
from yoloprune.pruning.groups import analyze
from yoloprune.pruning.layers import arrays_of, layers_of
from yoloprune.pruning.prove import exactness
from yoloprune.pruning.score.on_weights import l2, score
from yoloprune.pruning.torch_pruning_check import cross_check
from yoloprune.pruning.verification import random_images

SHAPE = (6, 4, 3, 3)


def normalized(g: GraphBuilder) -> str:
    """Weight normalization (T. Salimans, D. Kingma, 2016)."""
    direction, gain = g.parameter("direction", SHAPE), g.parameter("scale_gain", (6, 1, 1, 1))
    length = g.node("length", "ReduceL2", direction, axes=(1, 2, 3))
    return g.node("kernel", "Mul", g.node("unit", "Div", direction, length), gain)


def dequantized(g: GraphBuilder) -> str:
    codes = g.constant("codes", np.arange(216).reshape(SHAPE) - 100, "int8")
    zeros = g.constant("zeros", np.arange(6), "int8")
    scale = g.parameter("scale_kernel", (6,))
    return g.node("kernel", "DequantizeLinear", codes, scale, zeros, axis=0)


def unpacked(g: GraphBuilder) -> str:
    rows = g.node("turned", "Transpose", g.parameter("rows", (36, 6)), perm=(1, 0))
    return g.reshape("kernel", rows, SHAPE)


def joined(g: GraphBuilder) -> str:
    parts = [g.parameter(name, (3, *SHAPE[1:])) for name in ("a", "b")]
    return g.node("kernel", "Identity", g.node("joined", "Concat", *parts, axis=0))


def network(kernel: Callable[[GraphBuilder], str]) -> Graph:
    """Three convolutions, of which the second has this kernel and a bias that is computed."""
    g = GraphBuilder(opset=17, dtype="float64")
    x = g.input("images", (1, 3, 5, 4))
    x = g.node("first", "Conv", x, g.parameter("weight_first", (4, 3, 1, 1)))
    bias = g.node("bias", "Sub", g.parameter("bias_a", (6,)), g.parameter("bias_b", (1,)))
    x = g.node("second", "Conv", g.node("relu", "Relu", x), kernel(g), bias)
    shape = g.constant("shape", [1, 6, 1, 1])
    factor = g.node("factor", "Exp", g.parameter("log", (6,)))
    x = g.node("scaled", "Mul", x, g.node("shaped", "Reshape", factor, shape))
    x = g.node("last", "Conv", x, g.parameter("weight_last", (2, 6, 1, 1)))
    return g.build({x: (1, 2, 3, 2)})


@pytest.mark.parametrize("kernel", [normalized, dequantized, unpacked, joined])
def test_channels_on_both_sides_of_a_computed_kernel_are_free(
    kernel: Callable[[GraphBuilder], str],
) -> None:
    graph = network(kernel)
    dependencies = analyze(graph)
    assert {m.node for group in dependencies.prunable for m in group.producers} == {
        "first",
        "second",
    }
    parameters = random_parameters(graph)
    plan = random_plan(dependencies, 1)
    slim = edit(graph, parameters, cut(dependencies, plan))
    kept = dependencies.kept(plan.keep)
    found = exactness(dependencies, parameters, kept, slim, random_images(graph))
    assert found.passed, found
    left = layers_of(analyze(slim[0]))
    assert left["second"].filters == sum(len(plan.keep[g.id]) for g in dependencies.groups[1:-1])
    assert left["second"].channels == len(plan.keep[0])
    assert slim[0].parameters["log"].shape == (left["second"].filters,)
    assert cross_check(dependencies).passed


def test_an_array_that_is_read_whole_elsewhere_stays() -> None:
    def shared(g: GraphBuilder) -> str:
        kernel = g.node("kernel", "Neg", g.parameter("weight", SHAPE))
        g.node("norm", "ReduceL2", kernel)
        return kernel

    reasons = {group.frozen_because for group in analyze(network(shared)).groups}
    assert "cut from kernel, which is read whole elsewhere" in reasons


def test_scores_see_computed_kernels() -> None:
    graph = network(normalized)
    parameters = random_parameters(graph)
    dependencies = analyze(graph)
    (number,) = (g.id for g in dependencies.prunable if g.producers[0].node == "second")
    scores = score(dependencies, parameters, l2)[number]
    # Rows of weight normalization are as long as their gains.
    gains = parameters["scale_gain"].reshape(-1).numpy()
    np.testing.assert_allclose(scores, gains)
    kernel = arrays_of(graph, parameters)["kernel"]
    assert torch.allclose(kernel.flatten(1).norm(dim=1), torch.from_numpy(gains))
