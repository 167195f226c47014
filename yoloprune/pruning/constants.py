"""The walk over constants: what channels emit everywhere that emit one number everywhere.

A channel whose batch-norm gamma is 0 is one, and so is one without a batch norm whose kernel is 0.
What follows computes a constant from constants: it is run on them, with axes of one element in
place of the space that they fill. A number that is not known is not a number.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from yoloprune.graph.graph import Node
from yoloprune.graph.operators.operator import Family, present
from yoloprune.graph.operators.table import operator_of
from yoloprune.pruning.groups import DependencyGraph
from yoloprune.pruning.labels.moves import MOVES, Move, pieces
from yoloprune.pruning.layers import Arrays, Layer, Layers, by_filter

POOLS = frozenset({"AveragePool", "GlobalAveragePool", "GlobalMaxPool", "MaxPool", "Resize"})
"""What leaves a constant image as it is, its borders apart."""

REDUCTIONS = frozenset({"ReduceMax", "ReduceMean", "ReduceMin"})
"""What leaves a number as it is that is the same along the axes that are reduced."""


def constants(
    dependencies: DependencyGraph, layers: Layers, arrays: Arrays, wanted: NDArray[np.bool_]
) -> dict[str, Tensor]:
    """What each wanted channel (a mask over ids) of each value emits: float64 or not a number.

    By the value's name; broadcastable to its shape.
    """
    walk = _Walk(dependencies, layers, arrays, wanted)
    for node in dependencies.graph.nodes:
        walk.follow(node)
    return walk.values


def emitted(found: Mapping[str, Tensor], layer: Layer) -> Tensor:
    """What each channel that a layer reads emits, (C,) float64; what is not known counts as 0."""
    axis = layer.channel_axis % len(layer.before)
    rest = [number for number in range(len(layer.before)) if number != axis]
    value = found[layer.source]
    mean = value.mean(dim=rest) if rest else value
    return mean.expand(layer.before[axis]).nan_to_num(nan=0.0)


class _Walk:
    def __init__(
        self,
        dependencies: DependencyGraph,
        layers: Layers,
        arrays: Arrays,
        wanted: NDArray[np.bool_],
    ) -> None:
        self.graph = dependencies.graph
        self.labels = dependencies.labels
        self.layers = layers
        self.norms = {layer.norm.node: layer for layer in layers.values() if layer.norm}
        self.arrays = arrays
        self.wanted = wanted
        self.values = {
            name: self._unknown(name) for name in self.graph.inputs if name in self.labels.values
        }

    def follow(self, node: Node) -> None:
        """Note what a node gives."""
        names = [name for name in node.outputs if name in self.labels.values]
        if not any(self.wanted[self.labels.values[name]].any() for name in names):
            self.values.update((name, self._unknown(name)) for name in names)
            return
        for name, value in zip(node.outputs, self._outputs(node), strict=False):
            if name in self.labels.values:
                mask = torch.from_numpy(self.wanted[self.labels.values[name]])
                self.values[name] = torch.where(mask, value.cpu().double(), torch.nan)

    def _outputs(self, node: Node) -> Sequence[Tensor]:
        nothing = [self._unknown(name) for name in filter(None, node.outputs)]
        if node.name in self.layers:
            return [self._born(self.layers[node.name])]
        if node.name in self.norms:
            norm = self.norms[node.name].norm
            assert norm is not None
            # What batch norm gives where gamma is 0; others are centered on it.
            return [_along(self.arrays[norm.bias], nothing[0].dim(), 1)]
        match operator_of(node).family:
            case Family.ELEMENTWISE:
                return self._computed(node)
            case Family.MOVE:
                return self._moved(node) or nothing
            case Family.SPATIAL if node.operator in POOLS:
                value = self.values[node.inputs[0]]
                return [value.mean(dim=tuple(range(2, value.dim())), keepdim=True)]
            case Family.REDUCTION if node.operator in REDUCTIONS:
                return [self._reduced(node)]
            case _:
                return nothing

    def _unknown(self, name: str) -> Tensor:
        rank = len(self.labels.facts.shapes[name])
        return torch.full((1,) * rank, torch.nan, dtype=torch.float64)

    def _born(self, layer: Layer) -> Tensor:
        """What filters of zeros give."""
        silent = (by_filter(layer, self.arrays[layer.kernel]) == 0).flatten(1).all(dim=1)
        value = torch.where(silent, 0.0, torch.nan).double()
        if present(layer.node, 2):
            value = value + (self.arrays[layer.bias].reshape(-1) if layer.bias else torch.nan)
        return _along(value, len(layer.after), layer.channel_axis)

    def _computed(self, node: Node) -> Sequence[Tensor]:
        inputs = [self._read(name) for name in node.inputs]
        return operator_of(node).compute(node, inputs, self.graph.opset)

    def _read(self, name: str) -> Tensor | None:
        """What an elementwise operator is given."""
        if not name:
            return None
        if name in self.values:
            value = self.values[name]
            # Some operators hold their arrays against the number of channels.
            shape = list(value.shape)
            shape[1:2] = self.labels.facts.shapes[name][1:2]
            return value.expand(shape)
        if name in self.arrays:
            return self.arrays[name].cpu().double()
        return torch.from_numpy(np.array(self.labels.facts.known[name]))

    def _moved(self, node: Node) -> list[Tensor]:
        """Constants go where the places go that they stand in."""
        shapes, known = self.labels.facts.shapes, self.labels.facts.known
        names = node.inputs if node.operator == "Concat" else node.inputs[:1]
        # Place 0 is for what is put between.
        table, places = [torch.zeros(1, dtype=torch.float64)], []
        start = 1
        for name in names:
            value = self._read(name)
            assert value is not None
            places.append(np.arange(start, start + value.numel()).reshape(value.shape))
            table.append(value.reshape(-1).double())
            start += value.numel()
        if node.operator == "DepthToSpace":
            # The pieces of a block take turns in space: their mean is what they have in common.
            parts = pieces(places[0], node)
            return [torch.stack([torch.cat(table)[torch.from_numpy(p)] for p in parts]).mean(dim=0)]
        found = MOVES[node.operator](
            Move(
                node=node,
                ids=tuple(places),
                before=tuple(shapes[name] for name in names),
                after=tuple(shapes[name] for name in node.outputs if name),
                known={n: known[name] for n, name in enumerate(node.inputs) if name in known},
            )
        )
        return [torch.cat(table)[torch.from_numpy(np.array(moved))] for moved in found or ()]

    def _reduced(self, node: Node) -> Tensor:
        name = node.inputs[0]
        whole = self.values[name].expand(self.labels.facts.shapes[name])
        inputs = [whole, *map(self._read, node.inputs[1:])]
        (value,) = operator_of(node).compute(node, inputs, self.graph.opset)
        return value


def _along(vector: Tensor, rank: int, axis: int) -> Tensor:
    shape = [1] * rank
    shape[axis] = -1
    return vector.reshape(shape)
