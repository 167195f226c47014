"""Whether a module computes what a graph does."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from yoloprune.errors import GraphError
from yoloprune.execution.stream import arrays_like, computed
from yoloprune.frontends.onnx.protos import first_line
from yoloprune.frontends.torch.document import ModuleDocument, converted, in_dtype
from yoloprune.frontends.torch.export import copied, tensors_in
from yoloprune.graph.graph import Graph
from yoloprune.graph.model import Model
from yoloprune.pruning.verification import compare

PRECISIONS = ((torch.float64, 1e-6), (torch.float32, 1e-4))
"""Dtypes, and the largest relative error in each: the second where a module knows no other.

torch exports what a module's code works out in Python in float32.
"""


NOT_FINITE = "it gives numbers that are not finite"
"""Of a module whose outputs cannot be compared."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Bench:
    """A module in the dtype in which it is compared with graphs, and what it is called with."""

    document: ModuleDocument
    module: nn.Module
    inputs: tuple[Any, ...]
    tolerance: float

    def difference(
        self, module: nn.Module, graph: Graph, parameters: Mapping[str, Tensor]
    ) -> str | None:
        """Why a module does not compute what a graph does; None where it does."""
        given = tensors_in(self.inputs)
        with torch.no_grad():
            try:
                found = self.document.outputs_of(module(*copied(self.inputs)))
            except Exception as error:
                # A module's code raises anything where sizes do not fit.
                return first_line(error)
            like = torch.empty(0, dtype=found[0].dtype if found else torch.float64)
            arrays = arrays_like(graph, parameters, like)
            values = computed(
                graph, arrays, dict(zip(graph.inputs, given, strict=True)), graph.outputs
            )
        wanted = tuple(values[name] for name in graph.outputs)
        if len(found) != len(wanted):
            return f"{len(found)} outputs instead of {len(wanted)}"
        if not all(own.isfinite().all() for own in found if own.is_floating_point()):
            return NOT_FINITE
        check = compare(found, wanted, tolerance=self.tolerance)
        return None if check.passed else f"outputs differ by {check.relative_error:.3g}"


def bench(network: Model, document: ModuleDocument, module: nn.Module) -> Bench:
    """Where a module is compared; raises `GraphError` where it is not what its graph computes."""
    reason: str | None = None
    for dtype, tolerance in PRECISIONS:
        found = Bench(
            document=document,
            module=in_dtype(module, dtype),
            inputs=pytree.tree_map(lambda own, kind=dtype: converted(own, kind), document.inputs),
            tolerance=tolerance,
        )
        reason = found.difference(found.module, network.graph, network.parameters)
        if reason is None:
            return found
    if reason == NOT_FINITE:
        raise GraphError(f"{reason}: its weights are damaged, or its training diverged")
    raise GraphError(
        f"the module and the graph that torch exports of it differ: {reason}; what is random, or "
        "kept from one call to the next, cannot be exported"
    )
