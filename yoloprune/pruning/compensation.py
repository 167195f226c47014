"""Bias compensation: keep the constant that a removed channel still emitted.

A channel whose batch-norm gamma is 0 emits act(beta) everywhere, and its consumers count on it.
What surgery drops, compensation first moves elsewhere:

- `fold`: into the bias (or out of the batch-norm mean) of every consumer. Exact inside the image;
  near its border, a consumer's zero padding replaced part of the constant, which a bias cannot.
- `carrier`: into a carrier, one kept channel a group that emits a constant itself (gamma 0, beta 1
  in all its producers), through its column of every consumer's kernel. Exact everywhere, for one
  channel a group.

Both are exact only where gamma is exactly 0. For any other removed channel, act(beta) stands in as
an approximation (batch norm centres a channel on beta), which can be worse than no compensation.
Channels of convolutions without batch norm count as constant where their kernel is zero, and are
dropped uncompensated elsewhere.
"""

from collections import defaultdict
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from yoloprune.darknet.spec import (
    INPUT,
    Conv,
    Layer,
    NetworkSpec,
    Reorg,
    Route,
    Sam,
    ScaleChannels,
    Shortcut,
)
from yoloprune.darknet.state import ConvParameters, State
from yoloprune.model.layers import ACTIVATION_FUNCTIONS
from yoloprune.pruning.channels import is_depthwise
from yoloprune.pruning.groups import DependencyGraph, analyse
from yoloprune.pruning.plan import Compensation, PruningPlan, check_plan

SMALLEST_CARRIER = 1e-3
"""A carrier that arrives smaller than this would need huge kernels; its consumer is folded."""


def compensate(spec: NetworkSpec, state: State, plan: PruningPlan) -> dict[int, ConvParameters]:
    """The dense state made ready for surgery by this plan, in new tensors where it differs.

    Where a carrier does not reach a consumer, that consumer is folded. Computed in float64,
    returned in the state's dtype.
    """
    if plan.compensation is Compensation.NONE:
        return dict(state)
    graph = analyse(spec)
    check_plan(graph, plan)
    carriers = carrier_mask(graph, plan)
    lost = ~graph.kept(plan.keep) | carriers
    constants = _constants(graph, state, lost)
    ready = _with_carriers(graph, state, carriers)
    arriving = _constants(graph, ready, carriers)
    for conv in spec.convs:
        ids = graph.channels.inputs[conv.index]
        if is_depthwise(conv, len(ids)) or not lost[ids].any():
            continue
        source = conv.sources[0]
        ready[conv.index] = _move_constants(
            conv,
            ready[conv.index],
            lost=lost[ids],
            constants=constants[source],
            carriers=_first_carriers(graph, ids, carriers, arriving[source], conv.groups),
            arriving=arriving[source],
        )
    return ready


def carrier_mask(graph: DependencyGraph, plan: PruningPlan) -> NDArray[np.bool_]:
    """Over channel ids: True for those that carry constants under this plan."""
    carriers = np.zeros(graph.channels.count, dtype=np.bool_)
    if plan.compensation is Compensation.CARRIER:
        for group_id, numbers in plan.carriers.items():
            carriers[np.asarray(graph.groups[group_id].channels)[list(numbers)]] = True
    return carriers


def _constants(
    graph: DependencyGraph, state: State, wanted: NDArray[np.bool_]
) -> dict[int, Tensor]:
    """The walk over constants: what each wanted channel of each layer's output emits, (C,) float64.

    Channels that are not wanted count as 0; so do those whose constant is unknown.
    """
    outputs: dict[int, Tensor] = {
        INPUT: torch.zeros(graph.spec.input_shape[0], dtype=torch.float64)
    }
    for layer in graph.spec.layers:
        value = _constant_output(layer, [outputs[s] for s in layer.sources], state)
        mask = torch.from_numpy(wanted[graph.channels.outputs[layer.index]])
        outputs[layer.index] = torch.where(mask, value, torch.zeros_like(value))
    return outputs


def _constant_output(layer: Layer, inputs: list[Tensor], state: State) -> Tensor:
    first = inputs[0]
    match layer:
        case Conv():
            parameters = state[layer.index]
            value = parameters.bias.double()
            if parameters.scale is None:
                silent = (parameters.kernel == 0).flatten(1).all(dim=1)
                return torch.where(silent, _activated(layer.activation, value), 0.0)
            return _activated(layer.activation, value)
        case Shortcut():
            total = first.clone()
            for other in inputs[1:]:
                shared = min(len(total), len(other))
                total[:shared] += other[:shared]
            return _activated(layer.activation, total)
        case Route():
            if layer.groups > 1:
                inputs = [x.chunk(layer.groups)[layer.group_id] for x in inputs]
            return torch.cat(inputs)
        case ScaleChannels() | Sam():
            return _activated(layer.activation, first * inputs[1])
        case Reorg():
            block = layer.stride**2
            if layer.mixes_channels:
                # The pieces of a block take turns in space: its mean is what they have in common.
                means = first.reshape(-1, block).mean(dim=1)
                return means.repeat(block).repeat_interleave(block)
            return first.repeat(block)
        case _:
            return first


def _activated(activation: str, value: Tensor) -> Tensor:
    return ACTIVATION_FUNCTIONS[activation](value)


def _with_carriers(
    graph: DependencyGraph, state: State, carriers: NDArray[np.bool_]
) -> dict[int, ConvParameters]:
    """The state with constant filters in place of the carriers' own, in all their producers."""
    ready = dict(state)
    for conv in graph.spec.convs:
        mask = torch.from_numpy(carriers[graph.channels.outputs[conv.index]])
        if not mask.any():
            continue
        parameters = ready[conv.index]
        bias = torch.where(mask, torch.ones_like(parameters.bias), parameters.bias)
        if parameters.scale is None:
            kernel = parameters.kernel.clone()
            kernel[mask] = 0
            ready[conv.index] = replace(parameters, bias=bias, kernel=kernel)
        else:
            scale = torch.where(mask, torch.zeros_like(bias), parameters.scale)
            ready[conv.index] = replace(parameters, bias=bias, scale=scale)
    return ready


def _first_carriers(
    graph: DependencyGraph,
    ids: NDArray[np.int64],
    carriers: NDArray[np.bool_],
    arriving: Tensor,
    parts: int,
) -> NDArray[np.int64]:
    """For each input channel, the position of the carrier of its group in its part, or -1."""
    group_of = np.full(graph.channels.count, -1, dtype=np.int64)
    for group in graph.prunable:
        group_of[list(group.channels)] = group.id
    keys = list(zip(np.repeat(np.arange(parts), len(ids) // parts), group_of[ids], strict=True))
    usable = carriers[ids] & (arriving.abs().numpy() >= SMALLEST_CARRIER)
    first: dict[tuple[np.int64, np.int64], int] = defaultdict(lambda: -1)
    for position in np.flatnonzero(usable)[::-1].tolist():
        first[keys[position]] = position
    return np.array([first[key] for key in keys], dtype=np.int64)


def _move_constants(
    conv: Conv,
    parameters: ConvParameters,
    *,
    lost: NDArray[np.bool_],
    constants: Tensor,
    carriers: NDArray[np.int64],
    arriving: Tensor,
) -> ConvParameters:
    """A consumer that no longer needs the lost channels' constants.

    `lost`, `constants`, `carriers` and `arriving` are over its input channels; `lost` includes the
    carriers, whose former content is gone as well.
    """
    columns = len(lost) // conv.groups
    rows = conv.filters // conv.groups
    kernel = parameters.kernel.double()  # (F, C/g, k, k)
    moved = kernel.clone()
    shift = torch.zeros(conv.filters, dtype=torch.float64)
    for part in range(conv.groups):
        span = slice(part * rows, (part + 1) * rows)
        own = slice(part * columns, (part + 1) * columns)
        gone, target = torch.from_numpy(lost[own]), torch.from_numpy(carriers[own])
        values = torch.where(gone, constants[own], 0.0)
        weighted = kernel[span] * values[None, :, None, None]
        shift[span] = weighted[:, gone & (target < 0)].sum(dim=(1, 2, 3))
        # A lost column is dead: what it used to read is gone, or is now another carrier's constant.
        moved[span, gone] = 0
        for position in sorted(set(target[gone & (target >= 0)].tolist())):
            share = weighted[:, gone & (target == position)].sum(dim=1)
            moved[span, position - part * columns] = share / arriving[position]
    dtype = parameters.kernel.dtype
    if parameters.mean is None:
        bias = parameters.bias.double() + shift
        return replace(parameters, kernel=moved.to(dtype), bias=bias.to(dtype))
    mean = parameters.mean.double() - shift
    return replace(parameters, kernel=moved.to(dtype), mean=mean.to(dtype))
