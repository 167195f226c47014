"""A graph run node by node: its values, each for as long as a later node reads it."""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TypeAlias, cast

import torch
from torch import Tensor

from yoloprune.graph.graph import Graph, Node
from yoloprune.graph.operators.dtypes import code_of, dtype_of
from yoloprune.graph.operators.table import computed
from yoloprune.graph.operators.tensors import tensor_of

Change: TypeAlias = Callable[[Node, Sequence[Tensor | None], Sequence[Tensor]], Sequence[Tensor]]
"""From a node, what it reads and what it gives to what stands in for that."""


class Run:
    """A graph's values for one set of inputs, as far as it was run.

    `array` gives a parameter or constant by name; what `keep` names is not let go. Everything real
    is computed in the dtype of the inputs, whatever the network converts it to.
    """

    def __init__(
        self,
        graph: Graph,
        array: Callable[[str], Tensor],
        inputs: Mapping[str, Tensor],
        keep: Collection[str] = (),
    ) -> None:
        self.opset = graph.opset
        self.array = array
        self.values = dict(inputs)
        real = (value.dtype for value in inputs.values() if value.is_floating_point())
        self.dtype = next(real, torch.float64)
        self.left = reads(graph)
        self.left.update(tuple(keep))

    def step(self, node: Node, change: Change | None = None) -> Sequence[Tensor]:
        """Compute what a node gives, and let go what no other reads."""
        read = [self._read(name) for name in node.inputs]
        outputs = computed(_in(self.dtype, node), read, self.opset)
        outputs = tuple(o.to(self.dtype) if o.is_floating_point() else o for o in outputs)
        if change is not None:
            outputs = tuple(change(node, read, outputs))
        self.values.update(
            (name, value) for name, value in zip(node.outputs, outputs, strict=False) if name
        )
        for name in freed(node, self.left):
            self.values.pop(name, None)
        return outputs

    def _read(self, name: str) -> Tensor | None:
        if not name:
            return None
        return self.values[name] if name in self.values else self.array(name)


def _in(dtype: torch.dtype, node: Node) -> Node:
    """A node that gives its real numbers in a dtype, whatever the network says of their own."""
    code = node.attributes.get("to")
    if node.operator != "Cast" or not dtype_of(node, cast(int, code)).is_floating_point:
        return node
    return replace(node, attributes={**node.attributes, "to": code_of(dtype)})


def array_like(
    graph: Graph, parameters: Mapping[str, Tensor], like: Tensor
) -> Callable[[str], Tensor]:
    """How nodes read arrays: real ones in a tensor's dtype and on its device, converted each time.

    Whole numbers stay on the CPU: they are what nodes are told.
    """

    def array(name: str) -> Tensor:
        found = parameters[name] if name in parameters else tensor_of(graph.constants[name])
        return found.detach().to(like) if found.is_floating_point() else found

    return array


def reads(graph: Graph) -> Counter[str]:
    """How many nodes read each value."""
    return Counter(name for node in graph.nodes for name in set(node.inputs))


def freed(node: Node, left: Counter[str]) -> Iterable[str]:
    """What nobody reads any more after a node; `left` counts the readers to come."""
    left.subtract(set(node.inputs))
    return [name for name in {*node.inputs, *node.outputs} if left[name] == 0]
