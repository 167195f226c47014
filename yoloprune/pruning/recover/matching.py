"""How far a slim network's outputs are from the dense one's on the same images.

At outputs whose meaning is known an error counts by what it does to probabilities, at others by how
much the dense network's output varies. It is told as a share of what it was when the comparison was
made.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

import torch
from torch import Tensor

from yoloprune.execution.fuse import folded
from yoloprune.execution.module import Network

Divergence: TypeAlias = Callable[[Tensor, Tensor], Tensor]
"""From the slim and the dense network's output (B, ...) to a scalar: 0 where they agree."""

Values: TypeAlias = Mapping[str, Tensor]

_TINY = 1e-6


class Matching:
    """Compares two networks batch by batch.

    `divergences` are those of outputs, by name. Everything is computed where the networks lie.
    """

    def __init__(
        self,
        dense: Network,
        slim: Network,
        images: Sequence[Tensor],
        divergences: Mapping[str, Divergence],
        *,
        bfloat16: bool = False,
    ) -> None:
        """`images` are batches to find the variations on, and the distance that is 1.

        With `bfloat16` what `distance` trains on is computed so, as fast as the processor can.
        """
        self.slim = slim
        self.divergences = divergences
        self._dense, self._form = _folded(dense), _folded(slim)
        self._bfloat16 = bfloat16
        wanted = [self.wanted(batch) for batch in images]
        self._variances = _variances(wanted)
        self._start = torch.ones(())
        found = [self.apart(slim, *pair) for pair in zip(images, wanted, strict=True)]
        self._start = torch.stack(found).mean().clamp(min=_TINY)

    def distance(self, images: Tensor) -> Tensor:
        """Of the slim network as it is, with gradients of its parameters.

        Its batch norms keep their statistics, so that they are folded into the kernels, which are
        smaller than what they would be applied to.
        """
        arrays = {name: self.slim.array(name) for name in self.slim.graph.parameters}
        images = images.contiguous(memory_format=torch.channels_last)
        with torch.autocast(images.device.type, dtype=torch.bfloat16, enabled=self._bfloat16):
            wanted = self.wanted(images)
            given = self._form(images, arrays=folded(self.slim.graph, arrays)[1])
        return self._apart(self._named(given), wanted)

    def wanted(self, images: Tensor) -> dict[str, Tensor]:
        """The dense network's outputs, by name."""
        with torch.no_grad():
            return self._named(self._dense(images))

    def share_left(self, network: Network, batches: Sequence[Tensor]) -> float:
        """How far a network of the slim one's form is: the mean over batches."""
        found = [self.apart(network, images, self.wanted(images)) for images in batches]
        return float(torch.stack(found).mean())

    def apart(self, network: Network, images: Tensor, wanted: Values) -> Tensor:
        """How far a network of the slim one's form is on images from the outputs `wanted`."""
        with torch.no_grad():
            return self._apart(self._named(network(images)), wanted)

    def _apart(self, given: Values, wanted: Values) -> Tensor:
        real = [name for name in given if given[name].is_floating_point()]
        found = [self._error(name, given[name].float(), wanted[name].float()) for name in real]
        return torch.stack(found).sum() / self._start

    def _named(self, outputs: Sequence[Tensor]) -> dict[str, Tensor]:
        return dict(zip(self._dense.graph.outputs, outputs, strict=True))

    def _error(self, name: str, given: Tensor, wanted: Tensor) -> Tensor:
        """Where nothing else is known, the mean of channels' errors as shares of variance."""
        if (divergence := self.divergences.get(name)) is not None:
            return divergence(given, wanted) / len(given)
        return (_by_channel((given - wanted).square()) / self._variances[name]).mean()


def _folded(network: Network) -> Network:
    """A copy that computes the same without batch norms, and has no gradients."""
    arrays = {name: network.array(name).detach() for name in network.graph.parameters}
    device = next(iter(arrays.values())).device
    return Network(*folded(network.graph, arrays), device=device).requires_grad_(False)


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
