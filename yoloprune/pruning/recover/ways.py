"""What becomes of a layer's output before another layer reads it.

Two things on its way say what the layer should give in a slim network, beside what it gave in the
dense one:

- A residual sum. The other branch brings its own error into it, and a layer that is fitted to what
  the sum lacks takes that out again, as in Y. He et al. (see `network`).
- An activation. What it does not let through does not matter: X. Zhang et al., "Accelerating Very
  Deep Convolutional Networks for Classification and Detection", 2016, fit through it too.

Both are an error at the end of the way that is taken back to its beginning.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from yoloprune.execution.run import reads
from yoloprune.graph.graph import Graph, Node
from yoloprune.graph.operators.operator import Family, Shape
from yoloprune.graph.operators.table import computed, operator_of
from yoloprune.pruning.layers import Layer

STRAIGHT = frozenset({"BatchNormalization", "Identity", "Dropout"})
"""Operators that let everything through alike."""

FARTHEST = 10.0
"""Deviations of a layer's output by which it is asked for more or less, at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """The nodes that take a layer's `output`, element by element, to the value `end`.

    Nothing else reads what lies between. There it is added to `other`, a value of the same shape,
    if there is one.
    """

    output: str
    end: str
    nodes: tuple[Node, ...] = ()
    other: str | None = None

    @property
    def bends(self) -> bool:
        """Whether errors count more in some places than in others."""
        return any(node.operator not in STRAIGHT for node in self.nodes)

    def same(self, way: "Way") -> bool:
        """Whether it is the way of the same layer in a dense and a slim network."""
        names = [node.name for node in self.nodes], [node.name for node in way.nodes]
        return (self.output, self.end, self.other) == (way.output, way.end, way.other) and (
            names[0] == names[1]
        )


def ways_of(graph: Graph, shapes: Mapping[str, Shape], layers: Iterable[Layer]) -> dict[str, Way]:
    """The way of each layer's output, by the layer's node; `shapes` are those of all values."""
    readers = reads(graph)
    arrays = {*graph.parameters, *graph.constants, ""}

    def way_of(layer: Layer) -> Way:
        found = Way(output=layer.output, end=layer.output)
        known, passed, inner = {layer.output}, list[Node](), 0
        for node in graph.nodes:
            read = set(node.inputs) - arrays
            if not read & known or known & set(graph.outputs) or layer.output in node.outputs:
                continue
            if not read <= known or not _by_itself(node, layer, shapes, arrays):
                others = [name for name in read - known if shapes[name] == shapes[found.end]]
                alone = readers[found.end] == 1 and found.end in read
                if node.operator == "Add" and alone and others:
                    return replace(found, other=others[0])
                break
            passed.append(node)
            inner += len(read)
            # Here all that was passed is read by what was passed, and the last of it is yet to be.
            if inner == sum(readers[name] for name in known):
                found = replace(found, nodes=tuple(passed), end=node.outputs[0])
            known.add(node.outputs[0])
        return found

    return {layer.name: way_of(layer) for layer in layers}


def _by_itself(node: Node, layer: Layer, shapes: Mapping[str, Shape], arrays: set[str]) -> bool:
    """Whether a node computes each element from that at its place, alike at all places."""
    rank = len(layer.after)
    axis = layer.channel_axis % rank
    if operator_of(node).family is not Family.ELEMENTWISE:
        return False
    if shapes[node.outputs[0]] != shapes[layer.output]:
        return False
    if node.operator == "BatchNormalization":
        return axis == 1

    def alike(name: str) -> bool:
        shape = shapes[name]
        padded = (1,) * (rank - len(shape)) + tuple(shape)
        return all(size == 1 for place, size in enumerate(padded) if place != axis)

    return all(alike(name) for name in set(node.inputs) & arrays if name)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Ahead:
    """A dense layer's way, for samples (g, N, F / g) float64 of those of its filters that are kept.

    `kept` (F,) numbers them; `array` gives the dense network's by name.
    """

    way: Way
    graph: Graph
    array: Callable[[str], Tensor]
    layer: Layer
    kept: Tensor

    def target(self, wanted: Tensor, error: Tensor, given: Tensor | None = None) -> Tensor:
        """What the layer should give to take away what is wrong at the end.

        That is `error`, what the other branch lacks there, if the layer gives what is `wanted`, or
        what that lacks too if it gives `given`. From there a step of Newton's is taken where the
        way is steepest, filter by filter, and as much less in other places as less is let through.
        """
        if not self.way.nodes:
            return wanted + error
        start = wanted
        if given is not None:
            start, error = given, error + self._end(wanted) - self._end(given)
        wide = self._wide(start).requires_grad_()
        with torch.enable_grad():
            (slope,) = torch.autograd.grad(self._passed(wide).sum(), wide)
        slope = self._narrow(slope, start)
        steepest = slope.square().amax(dim=1, keepdim=True)
        most = FARTHEST * wanted.std(dim=1, keepdim=True, correction=0)
        change = torch.clamp(slope * error / steepest, -most, most)
        # Where nothing is let through, or no number says how much, what is wanted stays.
        return torch.where((steepest > 0) & change.isfinite(), start + change, wanted)

    def _end(self, given: Tensor) -> Tensor:
        return self._narrow(self._passed(self._wide(given)), given)

    def _passed(self, wide: Tensor) -> Tensor:
        values = {self.way.output: wide}
        for node in self.way.nodes:
            read = [self._read(name, values) for name in node.inputs]
            (found, *_) = computed(node, read, self.graph.opset)
            # Conditions stay what they are.
            values[node.outputs[0]] = found.double() if found.is_floating_point() else found
        return values[self.way.end].double()

    def _read(self, name: str, values: Mapping[str, Tensor]) -> Tensor | None:
        if not name or name in values:
            return values.get(name)
        array = self.array(name)
        return array.double() if array.is_floating_point() else array

    def _wide(self, given: Tensor) -> Tensor:
        """As the dense layer gives it, one place an image, (N, dense F, 1 ...)."""
        rank = len(self.layer.after)
        rows = given.transpose(0, 1).flatten(1)
        wide = rows.new_zeros(len(rows), self.layer.filters)
        wide[:, self.kept] = rows
        shape = [1] * rank
        shape[0], shape[self.layer.channel_axis] = wide.shape
        return wide.reshape(shape)

    def _narrow(self, wide: Tensor, like: Tensor) -> Tensor:
        rows = wide.reshape(like.shape[1], -1)[:, self.kept]
        return rows.reshape(like.shape[1], len(like), -1).transpose(0, 1)
