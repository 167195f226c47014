"""Networks shaken alike, so that no channel is silent, or like another, when they are compared."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from yoloprune.graph.graph import Node
from yoloprune.graph.operators.operator import Family
from yoloprune.graph.operators.table import OPERATORS
from yoloprune.pruning.groups import DependencyGraph
from yoloprune.pruning.labels.ids import NONE, Mask, compacted, cut_axis, lean
from yoloprune.pruning.labels.labels import Labels


class Shake:
    """Adds a number of its own to each channel of what contractions and activations give.

    Both networks are shaken alike, and decide alike: what is the largest of nearly equal numbers,
    or which whole number they become, rounding says, so the slim network is told what the masked
    one found. The numbers are 0.5 to 1 times the largest value that the masked
    network has there. Where `natural` sizes are given, by node, values are halved until with their
    numbers they are no larger, so that nothing grows from layer to layer. Nor does rounding then:
    the slim network goes on with what the masked one gave, and `own` is what it gave itself.
    """

    def __init__(
        self,
        dependencies: DependencyGraph,
        kept: NDArray[np.bool_],
        seed: int,
        natural: Mapping[str, float] | None = None,
    ) -> None:
        self.labels = labels = dependencies.labels
        self.numbers = np.random.default_rng(seed).uniform(0.5, 1, labels.count)
        born = {found.node for found in labels.contractions}
        self.shaken = {
            node.name: node.outputs[0]
            for node in dependencies.graph.nodes
            if node.name in born or (_activates(node) and _holds_channels(labels, node.outputs[0]))
        }
        self.kept = kept
        self.stepwise, self.natural = natural is not None, natural or {}
        self.sizes: dict[str, float] = {}
        self.halved: dict[str, float] = {}
        self.decided: dict[str, Tensor] = {}
        self.given: dict[str, Tensor] = {}
        self.own: dict[str, Tensor] = {}

    def dense(
        self, node: Node, read: Sequence[Tensor | None], given: Sequence[Tensor]
    ) -> Sequence[Tensor]:
        """What a node of the masked network gives, shaken."""
        self.decided = self._decisions(node, read, given)
        value, *others = given
        if node.name in self.shaken and value.is_floating_point():
            size = size_of(value) or 1.0
            # By a power of two, which rounds nothing.
            most = (self.natural[node.name] or 1.0) / 2 if node.name in self.natural else size
            times = math.ceil(math.log2(size / most)) if most < size < math.inf else 0
            self.halved[node.name], self.sizes[node.name] = 0.5**times, min(size, most)
            value = value * self.halved[node.name] + self._offset(node.name).to(value)
        given = (value, *others)
        if self.stepwise:
            named = zip(node.outputs, given, strict=False)
            self.given = {name: value for name, value in named if name in self.labels.values}
        return given

    def slim(
        self, node: Node, read: Sequence[Tensor | None], given: Sequence[Tensor]
    ) -> Sequence[Tensor]:
        """The same of the slim one, after it."""
        told = self._decisions(node, read, given)
        for name, value in told.items():
            told[name] = self._instead(value, self.decided.get(name, value), name)
        names = (*node.outputs, *("" for _ in given))
        value, *others = (told.get(name, own) for name, own in zip(names, given, strict=False))
        if node.name in self.shaken and value.is_floating_point():
            offset = self._left(self._offset(node.name), self.shaken[node.name]).to(value)
            value = value * self.halved[node.name] + offset
        if not self.stepwise:
            return (value, *others)
        found = [*zip(names, (value, *others), strict=False)]
        self.own = dict(found)
        return [
            self._instead(own, self.given[name], name) if name in self.given else own
            for name, own in found
        ]

    def _decisions(
        self, node: Node, read: Sequence[Tensor | None], given: Sequence[Tensor]
    ) -> dict[str, Tensor]:
        """What is no longer real, of what a node makes of real numbers."""
        if not (read and read[0] is not None and read[0].is_floating_point()):
            return {}
        return {
            name: value
            for name, value in zip(node.outputs, given, strict=False)
            if not value.is_floating_point()
            and name in self.labels.values
            and name not in self.labels.facts.known
        }

    def _instead(self, own: Tensor, masked: Tensor, name: str) -> Tensor:
        """What the slim network has of the masked one's, unless its own is of another shape."""
        left = self._left(masked, name)
        return left if left.shape == own.shape else own

    def _left(self, value: Tensor, name: str) -> Tensor:
        """What the slim network has of a value."""
        return compact(value, self.kept[self.labels.values[name]], self.labels.lines.get(name))

    def _offset(self, node: str) -> Tensor:
        ids = self.labels.values[self.shaken[node]]
        # Of no dimensions, NumPy makes a number that is no array.
        return torch.from_numpy(np.asarray(self.numbers[ids] * self.sizes[node]))


def compact(value: Tensor, mask: Mask, lines: int | None) -> Tensor:
    """What the slim network has of a value of the masked one, in the same order.

    `lines` is the axis along which that has removed equally many of each line, where one is told.
    """
    axis = None if mask.all() else cut_axis(mask, lines)
    if axis is None:
        return value
    size = mask.shape[axis]
    along = [size if number == axis else 1 for number in range(mask.ndim)]
    left = compacted(np.arange(size).reshape(along), lean(mask), axis)
    return torch.take_along_dim(value, torch.from_numpy(left).to(value.device), axis)


def size_of(value: Tensor) -> float:
    """The largest absolute number, 0 of none."""
    return float(value.abs().max()) if value.numel() else 0.0


def _activates(node: Node) -> bool:
    """Whether a node may make many different values one, as a rectifier does."""
    row = OPERATORS.get(node.operator)
    if row is None or row.family is not Family.ELEMENTWISE:
        return False
    return len(node.inputs) == 1 or node.operator in ("Clip", "PRelu")


def _holds_channels(labels: Labels, value: str) -> bool:
    """Whether there are channels to be told apart: what has none may count places, as an index."""
    ids = labels.values.get(value)
    return ids is not None and bool((ids != NONE).any())
