"""How far a slim network is from the dense one on the same images: at the outputs, and within.

At outputs whose meaning is known an error counts by what it does to probabilities, at others by how
much the dense network's output varies. Within, the values of layers are compared: batch norms where
a layer has one, at the channels that are left, each by how much it varies. Both are shares of what
they were when the comparison was made, so that one can be weighed against the other.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

from yoloprune.execution.module import Network
from yoloprune.pruning.groups import DependencyGraph, analyze
from yoloprune.pruning.layers import layers_of
from yoloprune.pruning.plan import PruningPlan, kept_filters

Divergence: TypeAlias = Callable[[Tensor, Tensor], Tensor]
"""From the slim and the dense network's output (B, ...) to a scalar: 0 where they agree."""

Values: TypeAlias = Mapping[str, Tensor]

_TINY = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class Distances:
    """Scalars, both 1 where the comparison began."""

    outputs: Tensor
    features: Tensor


class Matching:
    """Compares two networks batch by batch.

    `divergences` are those of outputs, by name. Everything is computed where the networks lie.
    """

    def __init__(
        self,
        dependencies: DependencyGraph,
        plan: PruningPlan,
        networks: tuple[Network, Network],
        images: Sequence[Tensor],
        divergences: Mapping[str, Divergence],
    ) -> None:
        """`networks` are the dense and the slim one, `images` batches to find the variations on."""
        self.dense, self.slim = networks
        self.divergences = divergences
        self.kept = _points(dependencies, plan, self.slim)
        self.variances: dict[str, Tensor] = {}
        self.start = Distances(outputs=torch.ones(()), features=torch.ones(()))
        with torch.no_grad():
            self.variances = _variances([self._dense(batch) for batch in images])
            found = [self.distances(batch) for batch in images]
        self.start = Distances(
            outputs=_middle([each.outputs for each in found]),
            features=_middle([each.features for each in found]),
        )

    def distances(self, images: Tensor) -> Distances:
        """Of the slim network as it is, with gradients where those are wanted."""
        with torch.no_grad():
            wanted = self._dense(images)
        given = _values(self.slim, images, self.kept)
        outputs = [self._output(name, given[name], wanted[name]) for name in self._outputs(given)]
        features = [self._error(name, given[name], wanted[name]).mean() for name in self.kept]
        return Distances(
            outputs=torch.stack(outputs).sum() / self.start.outputs,
            features=torch.stack(features).mean() / self.start.features,
        )

    def wanted(self, images: Tensor) -> dict[str, Tensor]:
        """The dense network's outputs, by name."""
        with torch.no_grad():
            return self._named(self.dense(images))

    def share_left(self, network: Network, batches: Sequence[Tensor]) -> float:
        """How far a network of the slim one's form is at the outputs: the mean over batches."""
        found = [self.outputs_alone(network, images, self.wanted(images)) for images in batches]
        return float(torch.stack(found).mean())

    def outputs_alone(self, network: Network, images: Tensor, wanted: Values) -> Tensor:
        """How far another network of the slim one's form is at the outputs from those `wanted`."""
        with torch.no_grad():
            given = self._named(network(images))
            found = [self._output(name, given[name], wanted[name]) for name in self._outputs(given)]
            return torch.stack(found).sum() / self.start.outputs

    def _named(self, outputs: Sequence[Tensor]) -> dict[str, Tensor]:
        return dict(zip(self.dense.graph.outputs, outputs, strict=True))

    def _dense(self, images: Tensor) -> dict[str, Tensor]:
        found = _values(self.dense, images, self.kept)
        return found | {name: found[name].index_select(1, kept) for name, kept in self.kept.items()}

    def _outputs(self, values: Values) -> list[str]:
        return [name for name in self.dense.graph.outputs if values[name].is_floating_point()]

    def _output(self, name: str, given: Tensor, wanted: Tensor) -> Tensor:
        if (divergence := self.divergences.get(name)) is not None:
            return divergence(given.float(), wanted.float()) / len(given)
        return self._error(name, given, wanted).mean()

    def _error(self, name: str, given: Tensor, wanted: Tensor) -> Tensor:
        """Mean squared errors of the channels, as shares of their variances."""
        square = (given.float() - wanted.float()).square()
        variance = self.variances.get(name)
        return _by_channel(square) if variance is None else _by_channel(square) / variance


def _points(dependencies: DependencyGraph, plan: PruningPlan, slim: Network) -> dict[str, Tensor]:
    """The values that are compared within, and which of the dense channels the slim one has."""
    kept = kept_filters(dependencies, plan)
    norms = {
        node.name: node.outputs[0]
        for node in slim.graph.nodes
        if node.operator == "BatchNormalization"
    }
    device = next(slim.parameters()).device
    found = {}
    for name, layer in layers_of(analyze(slim.graph)).items():
        value = layer.output if layer.norm is None else norms[layer.norm.node]
        if layer.channel_axis == 1 and value not in slim.graph.outputs:
            found[value] = torch.tensor(kept[name], device=device)
    return found


def _values(network: Network, images: Tensor, wanted: Mapping[str, object]) -> dict[str, Tensor]:
    """The outputs, and the wanted values within."""
    found: dict[str, Tensor] = {}

    def see(name: str, value: Tensor) -> Tensor:
        if name in wanted:
            found[name] = value
        return value

    outputs = network(images, observe=see)
    return found | dict(zip(network.graph.outputs, outputs, strict=True))


def _by_channel(values: Tensor) -> Tensor:
    """Means over all but the second axis; over all, of what has one axis alone."""
    if values.dim() < 2:
        return values.mean()[None]
    return values.mean(dim=[axis for axis in range(values.dim()) if axis != 1])


def _variances(batches: Sequence[Values]) -> dict[str, Tensor]:
    """Of each channel of each value, but no less than a thousandth of what is usual in it."""
    found = {}
    for name, first in batches[0].items():
        if not first.is_floating_point():
            continue
        values = [batch[name].float() for batch in batches]
        mean = torch.stack([_by_channel(each) for each in values]).mean(dim=0)
        square = torch.stack([_by_channel(each.square()) for each in values]).mean(dim=0)
        variance = (square - mean.square()).clamp(min=0)
        found[name] = variance + 1e-3 * variance.mean() + _TINY
    return found


def _middle(values: Sequence[Tensor]) -> Tensor:
    return torch.stack(list(values)).mean().clamp(min=_TINY)
