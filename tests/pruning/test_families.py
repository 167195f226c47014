"""Operators that keep channels apart: what is free, what goes together, what stays and why."""

from collections.abc import Callable

import numpy as np
import pytest

from tests.pruning.plans import random_plan
from tests.random_graphs import random_parameters
from yoloprune.graph.builder import GraphBuilder
from yoloprune.graph.edits import edit
from yoloprune.graph.graph import Graph
from yoloprune.pruning.cut import cut
from yoloprune.pruning.groups import DependencyGraph, analyze
from yoloprune.pruning.prove import exactness
from yoloprune.pruning.verification import random_images

Middle = Callable[[GraphBuilder, str, str], str]


def network(middle: Middle, opset: int = 21) -> Graph:
    """Two branches of 12 channels, what stands between, and what reads it."""
    g = GraphBuilder(opset=opset, dtype="float64")
    x = g.input("images", (1, 3, 4, 5))
    a = g.node("a", "Conv", x, g.parameter("weight_a", (12, 3, 1, 1)))
    b = g.node("b", "Conv", x, g.parameter("weight_b", (12, 3, 1, 1)))
    y = middle(g, a, b)
    return g.build({y: ("n", "c", "h", "w")})


def last(g: GraphBuilder, x: str, columns: int = 12) -> str:
    return g.node("last", "Conv", x, g.parameter("weight_last", (2, columns, 1, 1)))


def cut_exactly(graph: Graph) -> tuple[DependencyGraph, Graph]:
    """The network's groups, and its graph when a third of all that is free is removed."""
    dependencies = analyze(graph)
    parameters = random_parameters(graph)
    plan = random_plan(dependencies, 1)
    kept = dependencies.kept(plan.keep)
    assert not kept.all()
    slim = edit(graph, parameters, cut(dependencies, plan))
    found = exactness(dependencies, parameters, kept, slim, random_images(graph))
    assert found.passed, found
    return dependencies, slim[0]


def free(dependencies: DependencyGraph) -> set[str]:
    return {member.node for group in dependencies.prunable for member in group.producers}


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


def rows(g: GraphBuilder, *names: str) -> list[str]:
    return [g.reshape(f"{name}.rows", name, (0, 12, 20)) for name in names]


def gated(g: GraphBuilder, a: str, b: str) -> str:
    gates = g.node("gates", "Einsum", *rows(g, a, b), equation="ncp,ncp->nc")
    return last(g, g.node("scaled", "Einsum", a, gates, equation="nc...,nc->nc..."))


def attended(g: GraphBuilder, a: str, b: str) -> str:
    shares = g.node("shares", "Einsum", *rows(g, a, b), equation="ncp,ncq->npq")
    mixed = g.node("mixed", "Einsum", "a.rows", shares, equation="ncp, npq -> ncq")
    return last(g, g.reshape("maps", mixed, (0, 12, 4, 5)))


@pytest.mark.parametrize("middle", [gated, attended])
def test_channels_that_meet_in_a_product_go_together(middle: Middle) -> None:
    dependencies, _ = cut_exactly(network(middle))
    (group,) = dependencies.prunable
    assert {member.node for member in group.producers} == {"a", "b"} and group.size == 12


def test_channels_that_are_crossed_with_others_stay() -> None:
    def middle(g: GraphBuilder, a: str, b: str) -> str:
        crossed = g.node("crossed", "Einsum", *rows(g, a, b), equation="ncp,ndp->ncd")
        return last(g, g.reshape("maps", crossed, (0, 12, 3, 4)))

    dependencies = analyze(network(middle))
    assert not dependencies.prunable
    reasons = {group.frozen_because for group in dependencies.groups}
    assert "crossed with other channels by crossed (Einsum)" in reasons


def test_equations_of_other_forms_keep_what_they_read() -> None:
    def middle(g: GraphBuilder, a: str, b: str) -> str:
        square = g.part("square", *rows(g, a), 2, 0, 12)
        return g.node("trace", "Einsum", square, *rows(g, b), equation="ncc,ncp->np")

    reasons = {group.frozen_because for group in analyze(network(middle)).groups}
    assert reasons == {"read by trace (Einsum)"}


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
