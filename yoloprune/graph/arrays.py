"""Arrays that a graph computes from arrays alone."""

from collections.abc import Mapping, Sequence
from functools import reduce

import torch
from torch import Tensor

from yoloprune.graph.graph import Graph
from yoloprune.graph.operators.table import OPERATORS, computed


def with_computed(graph: Graph, arrays: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Arrays by name, and everything that a graph's nodes compute from them alone."""
    found = dict(arrays)
    for node in graph.nodes:
        names = [name for name in node.inputs if name]
        if names and node.operator in OPERATORS and all(name in found for name in names):
            read = _alike([found.get(name) for name in node.inputs])
            given = computed(node, read, graph.opset)
            found.update(zip(node.outputs, given, strict=False))
    return found


def _alike(values: Sequence[Tensor | None]) -> Sequence[Tensor | None]:
    """Real numbers in the finest dtype that is among them: a module's code has finer ones."""
    real = {value.dtype for value in values if value is not None and value.is_floating_point()}
    if len(real) < 2:
        return values
    finest = reduce(torch.promote_types, real)
    return [v.to(finest) if v is not None and v.dtype in real else v for v in values]
