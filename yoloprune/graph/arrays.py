"""Arrays that a graph computes from arrays alone."""

from collections.abc import Mapping

from torch import Tensor

from yoloprune.graph.graph import Graph
from yoloprune.graph.operators.table import OPERATORS, computed


def with_computed(graph: Graph, arrays: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Arrays by name, and everything that a graph's nodes compute from them alone."""
    found = dict(arrays)
    for node in graph.nodes:
        names = [name for name in node.inputs if name]
        if names and node.operator in OPERATORS and all(name in found for name in names):
            read = [found.get(name) for name in node.inputs]
            given = computed(node, read, graph.opset)
            found.update(zip(node.outputs, given, strict=False))
    return found
