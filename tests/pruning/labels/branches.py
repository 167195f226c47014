"""Two branches, what stands between, and what is left when channels are removed."""

from collections.abc import Callable

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


def rows(g: GraphBuilder, *names: str) -> list[str]:
    return [g.reshape(f"{name}.rows", name, (0, 12, 20)) for name in names]
