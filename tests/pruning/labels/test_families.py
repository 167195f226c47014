"""Operators that keep channels apart: what is free, what goes together, what stays and why."""

import numpy as np
import pytest

from tests.pruning.labels.branches import cut_exactly, free, last, network
from yoloprune.graph.builder import GraphBuilder
from yoloprune.pruning.groups import analyze


@pytest.mark.parametrize("opset", [18, 21])
def test_groups_that_are_normalized_together_go_whole(opset: int) -> None:
    def middle(g: GraphBuilder, a: str, b: str) -> str:
        count = 12 if opset >= 21 else 4
        vectors = [g.parameter(name, (count,)) for name in ("scale", "bias")]
        normed = g.node("norm", "GroupNormalization", a, *vectors, num_groups=4)
        return last(g, g.node("sum", "Add", normed, b))

    dependencies, slim = cut_exactly(network(middle, opset))
    assert free(dependencies) == {"a", "b"}
    (node,) = (node for node in slim.nodes if node.operator == "GroupNormalization")
    left = slim.parameters["weight_a"].shape[0]
    assert left < 12 and left == 3 * node.attributes["num_groups"]
    assert slim.parameters["scale"].shape == (left if opset >= 21 else left // 3,)


def test_samples_free_what_they_look_at_and_keep_where() -> None:
    def middle(g: GraphBuilder, a: str, b: str) -> str:
        places = g.node("places", "Conv", b, g.parameter("weight_places", (2, 12, 1, 1)))
        grid = g.node("grid", "Transpose", g.node("tanh", "Tanh", places), perm=(0, 2, 3, 1))
        return last(g, g.node("sample", "GridSample", a, grid, mode="linear"))

    dependencies, _ = cut_exactly(network(middle))
    assert free(dependencies) == {"a", "b"}
    reasons = {group.frozen_because for group in dependencies.groups}
    assert "read as places by sample (GridSample)" in reasons


def test_roots_of_mean_squares_over_channels_keep_them() -> None:
    def middle(g: GraphBuilder, a: str, b: str) -> str:
        turned = g.node("turned", "Transpose", a, perm=(0, 2, 1, 3))
        scale = g.parameter("scale", (12, 5))
        normed = g.node("norm", "RMSNormalization", turned, scale, axis=-2)
        back = g.node("back", "Transpose", normed, perm=(0, 2, 1, 3))
        return last(g, g.node("sum", "Add", back, b))

    dependencies = analyze(network(middle, opset=23))
    assert not dependencies.prunable
    reasons = {group.frozen_because for group in dependencies.groups}
    assert "normalized over channels by norm (RMSNormalization)" in reasons


def test_regions_keep_channels_apart() -> None:
    def middle(g: GraphBuilder, a: str, b: str) -> str:
        regions = g.constant("regions", np.array([[0.0, 0, 3, 3], [1, 0, 4, 2]]))
        images = g.constant("images_of", np.array([0, 0]))
        sizes = {"output_height": 2, "output_width": 3, "sampling_ratio": 2}
        return last(g, g.node("aligned", "RoiAlign", a, regions, images, **sizes))

    dependencies, _ = cut_exactly(network(middle))
    assert "a" in free(dependencies)


def test_what_only_says_a_dtype_holds_no_channels() -> None:
    def middle(g: GraphBuilder, a: str, b: str) -> str:
        wide = g.node("wide", "Conv", b, g.parameter("weight_wide", (5, 12, 1, 1)))
        return last(g, g.node("cast", "CastLike", a, wide))

    graph = network(middle)
    dependencies, _ = cut_exactly(graph)
    assert free(dependencies) == {"a", "b", "wide"}


def test_scales_beside_what_is_normalized_are_cut_with_its_channels() -> None:
    def middle(g: GraphBuilder, a: str, b: str) -> str:
        normed = g.node("norm", "LayerNormalization", a, g.parameter("scale", (12, 1, 5)))
        return last(g, g.node("sum", "Add", normed, b))

    dependencies, slim = cut_exactly(network(middle))
    assert free(dependencies) == {"a", "b"}
    assert slim.parameters["scale"].shape == (slim.parameters["weight_a"].shape[0], 1, 5)


def test_computed_scales_keep_what_they_scale() -> None:
    def middle(g: GraphBuilder, a: str, b: str) -> str:
        rows = g.node("rows", "Transpose", a, perm=(0, 2, 3, 1))
        means = g.node("means", "ReduceMean", b, g.constant("axes", [0, 2, 3]), keepdims=0)
        normed = g.node("norm", "LayerNormalization", rows, means)
        return last(g, g.node("back", "Transpose", normed, perm=(0, 3, 1, 2)))

    dependencies = analyze(network(middle))
    assert not dependencies.prunable
    reasons = {group.frozen_because for group in dependencies.groups}
    assert "read by norm (LayerNormalization)" in reasons


@pytest.mark.parametrize("parts", [2, 3])
def test_unequal_parts_that_are_told_no_sizes(parts: int) -> None:
    """The last is the smallest, whatever is left of the others."""

    def middle(g: GraphBuilder, a: str, b: str) -> str:
        odd = g.node("odd", "Conv", a, g.parameter("weight_odd", (11, 12, 1, 1)))
        made = g.nodes("parts", "Split", odd, outputs=parts, axis=1, num_outputs=parts)
        return last(g, g.node("turned", "Concat", *made[::-1], axis=1), 11)

    dependencies, _ = cut_exactly(network(middle))
    assert sum("odd" in {m.node for m in g.producers} for g in dependencies.prunable) == parts
