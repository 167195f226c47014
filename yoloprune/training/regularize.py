"""Group lasso on batch-norm scales, which makes whole channel groups removable.

Legend: a channel of a coupled group has one scale in each of its producers; they are regularized
together, by the norm of their vector, so that the channel dies in all of them or in none.

The penalty is not differentiated: after each optimizer step its proximal operator shrinks every
vector by an amount (`training.rates.shrinkage`), and sets it to exactly 0 where it is shorter
(N. Parikh and S. Boyd, "Proximal Algorithms", 2014; network slimming: Z. Liu et al., 2017). A
gradient of the L1 norm alone would leave small values that oscillate around 0.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from yoloprune.execution.module import Network
from yoloprune.pruning.groups import analyze
from yoloprune.pruning.layers import layers_of


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CoupledScales:
    """The scales of one group: K producers' parameters with the filter of each of N channels."""

    parameters: Sequence[Tensor]
    filters: Sequence[Tensor]


def coupled_scales(network: Network) -> list[CoupledScales]:
    """The batch-norm scales of every prunable group whose producers all have batch norm.

    A producer that emits a channel several times (after a depthwise multiplier) counts each.
    """
    dependencies, groups = analyze(network.graph), []
    known = layers_of(dependencies)
    for group in dependencies.prunable:
        parameters: list[Tensor] = []
        filters: list[Tensor] = []
        for member in group.producers:
            layer = known.get(member.node)
            if layer is None or layer.norm is None:
                break
            order = torch.argsort(torch.tensor(member.channels), stable=True)
            positions = torch.tensor(member.positions)[order].reshape(group.size, -1)
            for column in positions.unbind(dim=1):
                parameters.append(network.array(layer.norm.scale))
                filters.append(column)
        else:
            groups.append(CoupledScales(parameters=parameters, filters=filters))
    return groups


def shrink(groups: Sequence[CoupledScales], amount: float) -> None:
    """Shorten each channel's vector of scales by `amount`, to exactly 0 where it is shorter."""
    with torch.no_grad():
        for group in groups:
            # sqrt(K): a channel with more producers has a longer vector for the same scales.
            least = amount * len(group.parameters) ** 0.5
            length = _vectors(group).norm(dim=0)  # (N,)
            factor = (1 - least / length.clamp(min=1e-12)).clamp(min=0)
            for parameter, filters in zip(group.parameters, group.filters, strict=True):
                parameter[filters] *= factor


def zero_share(groups: Sequence[CoupledScales]) -> float:
    """Share of channels, over all groups, whose scales are all exactly 0."""
    dead = sum(int((_vectors(group) == 0).all(dim=0).sum()) for group in groups)
    return dead / max(1, sum(len(group.filters[0]) for group in groups))


def typical_scale(groups: Sequence[CoupledScales]) -> float:
    """Median over all channels of the root mean square of a channel's scales."""
    lengths = [_vectors(g).norm(dim=0) / len(g.parameters) ** 0.5 for g in groups]
    return float(torch.cat(lengths).median()) if lengths else 0.0


def _vectors(group: CoupledScales) -> Tensor:  # -> (K, N)
    pairs = zip(group.parameters, group.filters, strict=True)
    return torch.stack([parameter.detach()[filters] for parameter, filters in pairs])
