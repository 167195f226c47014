"""Criteria: how important each channel of a group is.

A criterion is a function of a group, a network's layers and its arrays that gives one score per
channel, float64, the higher the more important. In a coupled group the score is the mean over the
producers. Scores of different groups are not comparable before `solve.normalized`.
"""

from collections.abc import Callable
from functools import partial
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from yoloprune.errors import PlanError
from yoloprune.pruning.groups import ChannelGroup, DependencyGraph
from yoloprune.pruning.layers import Arrays, Layer, Layers, arrays_of, by_filter, layers_of

Criterion: TypeAlias = Callable[[ChannelGroup, Layers, Arrays], NDArray[np.float64]]


def l2(group: ChannelGroup, layers: Layers, arrays: Arrays) -> NDArray[np.float64]:
    """Root of the sum of squares of the kernel that produces the channel.

    H. Li et al., "Pruning Filters for Efficient ConvNets", 2017, with the L2 norm.
    """
    return _mean_over_producers(group, layers, arrays, partial(_norm, order=2))


def l1(group: ChannelGroup, layers: Layers, arrays: Arrays) -> NDArray[np.float64]:
    """Sum of the absolute values of the kernel that produces the channel.

    H. Li et al., "Pruning Filters for Efficient ConvNets", 2017.
    """
    return _mean_over_producers(group, layers, arrays, partial(_norm, order=1))


def bn_scale(group: ChannelGroup, layers: Layers, arrays: Arrays) -> NDArray[np.float64]:
    """Absolute batch-norm scale; raises `PlanError` where a producer has no batch norm.

    Z. Liu et al., "Learning Efficient Convolutional Networks through Network Slimming", 2017.
    """
    for member in group.producers:
        if layers[member.node].norm is None:
            raise PlanError(
                f"{member.node} has no batch norm, so bn-scale cannot rank its channels: "
                "choose another criterion"
            )
    return _mean_over_producers(group, layers, arrays, _absolute_scale)


def l2_folded(group: ChannelGroup, layers: Layers, arrays: Arrays) -> NDArray[np.float64]:
    """L2 norm of the kernel after folding the batch norm into it: times gamma / sqrt(var + eps)."""
    return _mean_over_producers(group, layers, arrays, _folded_norm)


def fpgm(group: ChannelGroup, layers: Layers, arrays: Arrays) -> NDArray[np.float64]:
    """Sum of the distances to all other filters of the layer: the most replaceable is lowest.

    Y. He et al., "Filter Pruning via Geometric Median for Deep Convolutional Neural Networks
    Acceleration", 2019.
    """
    return _mean_over_producers(group, layers, arrays, _distances)


def random(
    group: ChannelGroup, layers: Layers, arrays: Arrays, *, seed: int = 0
) -> NDArray[np.float64]:
    """Uniform in [0, 1), the same for the same seed and group: the control for all others."""
    return np.random.default_rng((seed, group.id)).random(group.size)


CRITERIA: dict[str, Criterion] = {
    "l2": l2,
    "l1": l1,
    "bn-scale": bn_scale,
    "l2-folded": l2_folded,
    "fpgm": fpgm,
    "random": random,
}
"""Criteria by the names that the command line uses."""

MEASURED_CRITERIA = ("reconstruction", "activation", "taylor")
"""Criteria that need images (`on_images.py`); of these `taylor` needs labels too."""


def criterion_named(name: str, seed: int = 0) -> Criterion:
    """A criterion by name; `seed` matters to `random` alone. Raises `PlanError` if unknown."""
    if name not in CRITERIA:
        if name in MEASURED_CRITERIA:
            raise PlanError(f"criterion {name} scores on images: none were given")
        known = ", ".join((*CRITERIA, *MEASURED_CRITERIA))
        raise PlanError(f"criterion {name!r} is unknown (known: {known})")
    return partial(random, seed=seed) if name == "random" else CRITERIA[name]


def score(
    dependencies: DependencyGraph, parameters: Arrays, criterion: Criterion
) -> dict[int, NDArray[np.float64]]:
    """Scores of all prunable groups, by group id."""
    layers, arrays = layers_of(dependencies), arrays_of(dependencies.graph, parameters)
    return {group.id: criterion(group, layers, arrays) for group in dependencies.prunable}


def _mean_over_producers(
    group: ChannelGroup, layers: Layers, arrays: Arrays, measure: Callable[[Layer, Arrays], Tensor]
) -> NDArray[np.float64]:
    total, times = np.zeros(group.size), np.zeros(group.size)
    for member in group.producers:
        values = measure(layers[member.node], arrays).double().numpy(force=True)
        channels = np.asarray(member.channels)
        np.add.at(total, channels, values[np.asarray(member.positions)])
        np.add.at(times, channels, 1)
    return total / times


def _filters(layer: Layer, arrays: Arrays) -> Tensor:  # -> (F, C / g ...)
    return by_filter(layer, arrays[layer.kernel]).flatten(1)


def _norm(layer: Layer, arrays: Arrays, order: int) -> Tensor:
    # In float64: squares of large but finite weights overflow float32.
    norm: Tensor = torch.linalg.vector_norm(
        _filters(layer, arrays), ord=order, dim=1, dtype=torch.float64
    )
    return norm


def _absolute_scale(layer: Layer, arrays: Arrays) -> Tensor:
    assert layer.norm is not None
    return arrays[layer.norm.scale].abs()


def _folded_norm(layer: Layer, arrays: Arrays) -> Tensor:
    norm = _norm(layer, arrays, 2)
    if layer.norm is None:
        return norm
    deviation = torch.sqrt(arrays[layer.norm.variance] + layer.norm.epsilon)
    return norm * arrays[layer.norm.scale].abs() / deviation


def _distances(layer: Layer, arrays: Arrays) -> Tensor:
    filters = _filters(layer, arrays).double()
    return torch.cdist(filters, filters).sum(dim=1)
