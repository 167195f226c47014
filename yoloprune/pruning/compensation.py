"""Bias compensation: keep the constant that a removed channel still emitted.

A channel whose batch-norm gamma is 0 emits act(beta) everywhere, and its consumers count on it.
What surgery drops, compensation first moves elsewhere:

- `fold`: into the bias (or out of the batch-norm mean) of every consumer. Exact inside the image;
  near its border, a consumer's zero padding replaced part of the constant, which a bias cannot.
- `carrier`: into a carrier, one kept channel a group that emits a constant itself (gamma 0, beta 1
  in all its producers), through its column of every consumer's kernel. Exact everywhere, for one
  channel a group.

Both are exact only where gamma is exactly 0. For any other removed channel, act(beta) stands in as
an approximation (batch norm centers a channel on beta), which can be worse than no compensation.
Channels without batch norm count as constant where their kernel is zero, and are dropped
uncompensated elsewhere. A consumer with neither bias nor batch norm has no place for a constant,
and one whose arrays others read too stays as it is.
"""

import math
from collections import defaultdict

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from yoloprune.graph.operators.operator import integers
from yoloprune.pruning.choices import Compensation
from yoloprune.pruning.constants import constants, emitted
from yoloprune.pruning.groups import DependencyGraph
from yoloprune.pruning.layers import (
    Arrays,
    Layer,
    Layers,
    arrays_of,
    as_kernel,
    by_filter,
    layers_of,
)
from yoloprune.pruning.plan import PruningPlan, check_plan

SMALLEST_CARRIER = 1e-3
"""A carrier that arrives smaller than this would need huge kernels; its consumer is folded."""


def compensate(
    dependencies: DependencyGraph, parameters: Arrays, plan: PruningPlan
) -> dict[str, Tensor]:
    """The dense parameters made ready for surgery by this plan, in new tensors where they differ.

    Where a carrier does not reach a consumer, that consumer is folded. Computed in float64,
    returned in the parameters' dtype.
    """
    if plan.compensation is Compensation.NONE:
        return dict(parameters)
    check_plan(dependencies, plan)
    layers = layers_of(dependencies)
    arrays = arrays_of(dependencies.graph, parameters)
    carriers = carrier_mask(dependencies, plan, layers)
    lost = ~dependencies.kept(plan.keep) | carriers
    before = constants(dependencies, layers, arrays, lost)
    ready = _with_carriers(layers, arrays, carriers)
    after = constants(dependencies, layers, arrays | ready, carriers)
    for layer in layers.values():
        ids = layer.contraction.columns
        if not layer.own or not lost[ids].any():
            continue
        arriving = emitted(after, layer)
        moved = _move_constants(
            layer,
            arrays | ready,
            lost=lost[ids],
            constants=emitted(before, layer),
            carriers=_first_carriers(dependencies, ids, carriers, arriving, layer.groups),
            arriving=arriving,
        )
        ready |= moved
    return {name: ready.get(name, tensor) for name, tensor in parameters.items()}


def carrier_mask(
    dependencies: DependencyGraph, plan: PruningPlan, layers: Layers
) -> NDArray[np.bool_]:
    """Over channel ids: True for those that carry constants under this plan."""
    carriers = np.zeros(dependencies.labels.count, dtype=np.bool_)
    if plan.compensation is Compensation.CARRIER:
        for group_id, numbers in plan.carriers.items():
            group = dependencies.groups[group_id]
            if all(layers[member.node].own for member in group.producers):
                carriers[np.asarray(group.channels)[list(numbers)]] = True
    return carriers


def _with_carriers(
    layers: Layers, arrays: Arrays, carriers: NDArray[np.bool_]
) -> dict[str, Tensor]:
    """Constant filters in place of the carriers' own, in all their producers: what changes."""
    ready: dict[str, Tensor] = {}
    for layer in layers.values():
        positions = torch.from_numpy(np.flatnonzero(carriers[layer.contraction.filters]))
        if not len(positions):
            continue
        if layer.norm is not None:
            scale, bias = arrays[layer.norm.scale].clone(), arrays[layer.norm.bias].clone()
            scale[positions], bias[positions] = 0, 1
            ready |= {layer.norm.scale: scale, layer.norm.bias: bias}
            continue
        filters = by_filter(layer, arrays[layer.kernel]).clone()
        filters[positions] = 0
        ready[layer.kernel] = as_kernel(layer, filters)
        if layer.bias is not None:
            bias = arrays[layer.bias].clone()
            bias.view(-1)[positions] = 1
            ready[layer.bias] = bias
    return ready


def _first_carriers(
    dependencies: DependencyGraph,
    ids: NDArray[np.int64],
    carriers: NDArray[np.bool_],
    arriving: Tensor,
    parts: int,
) -> NDArray[np.int64]:
    """For each input channel, the position of the carrier of its group in its part, or -1."""
    group_of = np.full(dependencies.labels.count, -1, dtype=np.int64)
    for group in dependencies.prunable:
        group_of[list(group.channels)] = group.id
    keys = list(zip(np.repeat(np.arange(parts), len(ids) // parts), group_of[ids], strict=True))
    usable = carriers[ids] & (arriving.abs().numpy() >= SMALLEST_CARRIER)
    first: dict[tuple[np.int64, np.int64], int] = defaultdict(lambda: -1)
    for position in np.flatnonzero(usable)[::-1].tolist():
        first[keys[position]] = position
    return np.array([first[key] for key in keys], dtype=np.int64)


def _move_constants(
    layer: Layer,
    arrays: Arrays,
    *,
    lost: NDArray[np.bool_],
    constants: Tensor,
    carriers: NDArray[np.int64],
    arriving: Tensor,
) -> dict[str, Tensor]:
    """A consumer that no longer needs the lost channels' constants: its arrays that change.

    `lost`, `constants`, `carriers` and `arriving` are over its input channels; `lost` includes the
    carriers, whose former content is gone as well.
    """
    kernel = by_filter(layer, arrays[layer.kernel])
    filters = kernel.double().reshape(*kernel.shape[:2], -1)  # (F, C/g, window)
    columns, rows = len(lost) // layer.groups, layer.filters // layer.groups
    moved = filters.clone()
    shift = filters.new_zeros(layer.filters)
    for part in range(layer.groups):
        span = slice(part * rows, (part + 1) * rows)
        own = slice(part * columns, (part + 1) * columns)
        gone, target = torch.from_numpy(lost[own]), torch.from_numpy(carriers[own])
        values = torch.where(gone, constants[own], 0.0).to(filters)
        weighted = filters[span] * values[None, :, None]
        shift[span] = weighted[:, gone & (target < 0)].sum(dim=(1, 2))
        # A lost column is dead: what it used to read is gone, or is now another carrier's constant.
        moved[span, gone] = 0
        for position in sorted(set(target[gone & (target >= 0)].tolist())):
            share = weighted[:, gone & (target == position)].sum(dim=1)
            moved[span, position - part * columns] = share / arriving[position].to(filters)
    ready = {layer.kernel: as_kernel(layer, moved.reshape(kernel.shape).to(kernel))}
    if layer.node.operator == "ConvTranspose":
        # Each place of the output sees one in so many of the window's values.
        shift /= math.prod(integers(layer.node, "strides"))
    if layer.norm is not None:
        mean = arrays[layer.norm.mean]
        ready[layer.norm.mean] = (mean.double() - shift).to(mean)
    elif layer.bias is not None:
        bias = arrays[layer.bias]
        ready[layer.bias] = (bias.double() + shift.reshape(bias.shape)).to(bias)
    return ready
