"""Chains of moves whose middle is no rectangle: channels are free, heads are equal parts."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from tests.pruning.plans import random_plan
from tests.random_graphs import random_parameters
from yoloprune.graph.builder import GraphBuilder
from yoloprune.graph.edits import edit
from yoloprune.graph.graph import Graph
from yoloprune.pruning.cut import cut
from yoloprune.pruning.groups import analyze
from yoloprune.pruning.prove import exactness
from yoloprune.pruning.verification import random_images


def conv(g: GraphBuilder, name: str, x: str, columns: int, filters: int, **attributes: int) -> str:
    kernel = g.parameter(f"weight_{name}", (filters, columns, 1, 1))
    return g.node(name, "Conv", x, kernel, **attributes)


def shuffled(g: GraphBuilder, name: str, x: str, channels: int, size: int) -> str:
    """ShuffleNet's shuffle of two branches."""
    apart = g.reshape(f"{name}.apart", x, (-1, 2, channels // 2, size, size))
    turned = g.node(f"{name}.turned", "Transpose", apart, perm=(0, 2, 1, 3, 4))
    return g.reshape(name, turned, (-1, channels, size, size))


def shufflenet(batch: int | str = 1) -> Graph:
    """A unit of two branches and two that split channels (N. Ma et al., ShuffleNet V2, 2018)."""
    g = GraphBuilder(opset=17, dtype="float64")
    x = conv(g, "stem", g.input("images", (batch, 3, 4, 4)), 3, 8)
    left, right = conv(g, "left", x, 8, 8), g.node("relu", "Relu", conv(g, "right", x, 8, 8))
    x = shuffled(g, "shuffle", g.node("joined", "Concat", left, right, axis=1), 16, 4)
    for n in (1, 2):
        halves = g.constant(f"halves_{n}", [8, 8])
        a, b = g.nodes(f"split_{n}", "Split", x, halves, outputs=2, axis=1)
        b = g.node(f"relu_{n}", "Relu", conv(g, f"conv_{n}", b, 8, 8))
        x = shuffled(g, f"shuffle_{n}", g.node(f"joined_{n}", "Concat", a, b, axis=1), 16, 4)
    return g.build({conv(g, "head", x, 16, 2): (batch, 2, 4, 4)})


def psa(batch: int | str = 1) -> Graph:
    """The attention of C2PSA: heads of packed q, k and v, narrower keys than values."""
    g = GraphBuilder(opset=17, dtype="float64")
    x = conv(g, "stem", g.input("images", (batch, 3, 3, 5)), 3, 8)
    packed = g.reshape("packed", conv(g, "qkv", x, 8, 16), (0, 2, 8, 15))
    q, k, v = g.nodes("parts", "Split", packed, g.constant("s", [2, 2, 4]), outputs=3, axis=2)
    q = g.node("scaled", "Mul", q, g.constant("scale", 0.7))
    q = g.node("turned", "Transpose", q, perm=(0, 1, 3, 2))
    weights = g.node("weights", "Softmax", g.node("qk", "MatMul", q, k), axis=-1)
    mixed = g.node("mixed", "MatMul", v, g.node("back", "Transpose", weights, perm=(0, 1, 3, 2)))
    mixed = g.reshape("image", mixed, (0, 8, 3, 5))
    mixed = g.node("sum", "Add", mixed, conv(g, "place", g.reshape("v", v, (0, 8, 3, 5)), 8, 8))
    return g.build({conv(g, "head", conv(g, "out", mixed, 8, 6), 6, 2): (batch, 2, 3, 5)})


def vit(batch: int | str = 1) -> Graph:
    """Packed q, k and v of a vision transformer: (B, N, 3, heads, d), and a residual beside it."""
    g = GraphBuilder(opset=17, dtype="float64")
    x = conv(g, "stem", g.input("images", (batch, 3, 2, 3)), 3, 12)
    x = g.node("tokens", "Transpose", g.reshape("rows", x, (0, 12, 6)), perm=(0, 2, 1))
    packed = g.node("qkv", "MatMul", x, g.parameter("weight_qkv", (12, 36)))
    packed = g.node("biased", "Add", packed, g.parameter("bias_qkv", (36,)))
    packed = g.reshape("apart", packed, (0, 6, 3, 3, 4))
    packed = g.node("turned", "Transpose", packed, perm=(2, 0, 3, 1, 4))
    q, k, v = (
        g.node(name, "Gather", packed, g.constant(f"{name}.n", n), axis=0)
        for n, name in enumerate("qkv")
    )
    q = g.node("q.scaled", "Mul", q, g.constant("scale", 0.5))
    scores = g.node("qk", "MatMul", q, g.node("k.turned", "Transpose", k, perm=(0, 1, 3, 2)))
    mixed = g.node("mixed", "MatMul", g.node("weights", "Softmax", scores, axis=-1), v)
    mixed = g.node("mixed.turned", "Transpose", mixed, perm=(0, 2, 1, 3))
    mixed = g.reshape("flat", mixed, (0, 6, 12))
    mixed = g.node("out", "MatMul", mixed, g.parameter("weight_out", (12, 12)))
    x = g.node("sum", "Add", x, mixed)
    return g.build(
        {g.node("head", "MatMul", x, g.parameter("weight_head", (12, 2))): (batch, 6, 2)}
    )


def words() -> Graph:
    """Packed q, k and v as torch lays them, (N, B, 3, heads * d): more heads than d; B is 2."""
    g = GraphBuilder(opset=17, dtype="float64")
    x = conv(g, "stem", g.input("images", (1, 3, 2, 6)), 3, 8)
    x = g.node("tokens", "Transpose", g.reshape("rows", x, (8, 12)), perm=(1, 0))
    packed = g.node("qkv", "MatMul", g.reshape("batch", x, (6, 2, 8)), g.parameter("w", (8, 48)))
    packed = g.node("turned", "Transpose", g.reshape("three", packed, (6, 2, 3, 16)),
                    perm=(2, 0, 1, 3))  # fmt: skip
    heads = []
    for n, name in enumerate("qkv"):
        own = g.node(f"{name}.own", "Gather", packed, g.constant(f"{name}.n", n), axis=0)
        own = g.node(f"{name}.turned", "Transpose", g.reshape(f"{name}.rows", own, (6, 16, 2)),
                     perm=(1, 0, 2))  # fmt: skip
        heads.append(g.reshape(name, own, (2, 8, 6, 2)))
    q, k, v = heads
    scores = g.node("qk", "MatMul", q, g.node("k.back", "Transpose", k, perm=(0, 1, 3, 2)))
    mixed = g.node("mixed", "MatMul", g.node("weights", "Softmax", scores, axis=-1), v)
    mixed = g.node("mixed.turned", "Transpose", mixed, perm=(2, 0, 1, 3))
    mixed = g.reshape("flat", mixed, (12, 16))
    return g.build({g.node("head", "MatMul", mixed, g.parameter("weight_head", (16, 2))): (12, 2)})


def check(graph: Graph, seed: int, batch: int = 1) -> list[str]:
    """Surgery by a random plan is exact; the operators that are left."""
    dependencies = analyze(graph)
    plan = random_plan(dependencies, seed)
    parameters = random_parameters(graph, seed)
    slim = edit(graph, parameters, cut(dependencies, plan))
    images = random_images(graph, seed=seed, batch=batch)
    found = exactness(dependencies, parameters, dependencies.kept(plan.keep), slim, images)
    assert found.passed, found
    return [node.operator for node in slim[0].nodes]


def sizes(graph: Graph) -> dict[tuple[str, ...], list[tuple[int, int]]]:
    """Sizes and equal parts of the prunable groups, by producers."""
    found: dict[tuple[str, ...], list[tuple[int, int]]] = {}
    for group in analyze(graph).prunable:
        names = tuple(member.node for member in group.producers)
        found.setdefault(names, []).append((group.size, group.equal_parts))
    return found


NETWORKS = [shufflenet, psa, vit]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("build", [*NETWORKS, words])
def test_chains_are_cut_exactly(build: Callable[[], Graph], seed: int) -> None:
    check(build(), seed)


@pytest.mark.parametrize("build", NETWORKS)
def test_a_batch_of_any_size_stays_one(build: Callable[[str], Graph]) -> None:
    assert sizes(build("batch")) == sizes(build(1))
    for seed in range(3):
        check(build("batch"), seed, batch=3)


def test_branches_of_a_shuffle_are_free() -> None:
    # What a later unit takes apart is told apart: each keeps something on either side.
    assert sizes(shufflenet()) == {
        ("stem",): [(8, 1)],
        ("left",): [(2, 1), (2, 1), (4, 1)],
        ("right",): [(2, 1), (2, 1), (4, 1)],
        ("conv_1",): [(4, 1), (4, 1)],
        ("conv_2",): [(8, 1)],
    }


def test_heads_are_equal_parts() -> None:
    assert sizes(psa()) == {
        ("stem",): [(8, 1)],
        ("qkv", "place"): [(8, 2)],
        ("qkv",): [(4, 2)],
        ("out",): [(6, 1)],
    }
    assert sizes(vit()) == {("stem", "out"): [(12, 1)], ("qkv",): [(12, 3), (12, 3)]}
    # A product of matrices, one a head, takes some of the channels of each, not some of the heads.
    assert sizes(words()) == {("stem",): [(8, 1)], ("qkv",): [(2, 1), (2, 1)]}


def test_a_shuffle_becomes_one_gather() -> None:
    left = Counter(check(shufflenet(), 1))
    assert left["Gather"] == 3
    assert not left["Transpose"] + left["Reshape"]


def test_packed_heads_keep_their_moves_where_those_still_serve() -> None:
    graph = psa()
    assert check(graph, 1) == [node.operator for node in graph.nodes]


def test_sizes_of_an_image_stay_any() -> None:
    g = GraphBuilder(opset=17, dtype="float64")
    x = conv(g, "stem", g.input("images", ("batch", 3, "height", "width")), 3, 8)
    # Not heads of q, k and v but q, k and v of heads: no rectangle where their widths differ.
    packed = g.reshape("packed", conv(g, "qkv", x, 8, 24), (0, 3, 2, 4, -1))
    q, k, v = (
        g.node(name, "Gather", packed, g.constant(f"{name}.n", n), axis=1)
        for n, name in enumerate("qkv")
    )
    scores = g.node("qk", "MatMul", g.node("turned", "Transpose", q, perm=(0, 1, 3, 2)), k)
    weights = g.node("weights", "Softmax", scores, axis=-2)
    mixed = g.reshape("mixed", g.node("product", "MatMul", v, weights), (0, 8, -1))
    mixed = g.node("rows", "Transpose", mixed, perm=(0, 2, 1))
    head = g.node("head", "MatMul", mixed, g.parameter("weight_head", (8, 2)))
    graph = replace(g.build({head: ("batch", "n", 2)}), sizes={"height": 3, "width": 5})
    assert sizes(graph) == {("stem",): [(8, 1)], ("qkv",): [(8, 2), (8, 2)]}
    dependencies = analyze(graph)
    plan = replace(random_plan(dependencies, 0), keep={1: (0, 1, 2, 5, 6, 7), 2: (3, 4)})
    parameters = random_parameters(graph)
    slim = edit(graph, parameters, cut(dependencies, plan))
    assert Counter(node.operator for node in slim[0].nodes)["Gather"] == 3
    for shape in ((1, 3, 3, 5), (2, 3, 4, 6)):
        images = {"images": torch.rand(shape, dtype=torch.float64)}
        found = exactness(dependencies, parameters, dependencies.kept(plan.keep), slim, images)
        assert found.passed, found
