"""Criteria that look at what flows through the network, not at its weights alone.

- `reconstruction`: what the network loses with a channel when the kernels that read it are
  re-fitted to do without (`elimination`); an error in a consumer's output counts by what it does to
  the heads (`sensitivity`).
- `activation`: mean |activation| times the norm of the kernels that read it.
- `taylor`: what the loss would change by, to first order. P. Molchanov et al., "Importance
  Estimation for Neural Network Pruning", 2019. The loss needs labels, so its gradients are computed
  elsewhere and come in as a mapping.

Their scores may be ranked over the whole network as they are. `reconstruction` and `taylor` give
what is lost for each multiply-accumulate that a channel's removal saves.
"""

import math
from collections.abc import Iterable, Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from yoloprune.darknet.cost import cost
from yoloprune.darknet.shapes import layer_shapes, source_shapes
from yoloprune.darknet.spec import Conv
from yoloprune.darknet.state import State
from yoloprune.model.network import Network
from yoloprune.model.stream import Stream, largest_outputs
from yoloprune.pruning.budget import normalised
from yoloprune.pruning.elimination import Reader, losses_by_elimination, readers_of
from yoloprune.pruning.groups import ChannelGroup, DependencyGraph, Member
from yoloprune.pruning.reconstruction import CHUNK
from yoloprune.pruning.sensitivity import Sensitivities
from yoloprune.pruning.statistics import (
    Moments,
    gather,
    patches,
    positions_per_image,
    random_positions,
    sample_bytes,
    window_values,
)
from yoloprune.reporter import SILENT, Reporter

MeasuredScores = dict[int, NDArray[np.float64]]


def taylor_scores(
    graph: DependencyGraph, input_gradients: Mapping[int, NDArray[np.float64]]
) -> MeasuredScores:
    """Squared first-order changes of the loss, mean over images, for each MAC saved.

    `input_gradients` has, by layer index, (B, C): the loss's derivative by a factor on each channel
    that a convolution reads, for each of B images. Where a channel is read is where it is missed:
    so one that passes several convolutions, a depthwise one for instance, counts once.
    """
    losses = {}
    for group in graph.prunable:
        images = len(next(iter(input_gradients.values())))
        change = np.zeros((group.size, images))
        for member in group.consumers:
            own = input_gradients[member.layer][:, np.asarray(member.positions)]
            np.add.at(change, np.asarray(member.channels), own.T)
        losses[group.id] = np.square(change).mean(axis=1)
    return _per_mac(graph, losses)


def activation_scores(
    graph: DependencyGraph, state: State, images: Tensor, *, reporter: Reporter = SILENT
) -> MeasuredScores:
    """Mean |activation| of each channel times the L2 norm of what reads it, by group means."""
    scores = {group.id: np.zeros(group.size) for group in graph.prunable}
    readers = _readers_of(graph)
    stream, chunks = _stream(graph, state, images)
    for layer in reporter.track(graph.spec.layers, "scoring channels"):
        if isinstance(layer, Conv) and layer.index in readers:
            # The last chunk may have fewer images than the others.
            sums = [
                x.abs().mean(dim=(2, 3)).sum(dim=0)
                for n in range(chunks)
                for x in stream.inputs(layer, n)
            ]
            means = torch.stack(sums).sum(dim=0) / len(images)
            kernel = state[layer.index].kernel.double()
            # Each convolution group's columns follow one another, as its input channels do.
            parts = kernel.reshape(layer.groups, -1, *kernel.shape[1:])
            norms = parts.square().sum(dim=(1, 3, 4)).sqrt().flatten()
            strength = (means.double() * norms).numpy()
            for group, member in readers[layer.index]:
                own = strength[np.asarray(member.positions)]
                np.add.at(scores[group.id], np.asarray(member.channels), own)
        for chunk in range(chunks):
            stream.run(layer, chunk)
    return normalised(scores)


def reconstruction_scores(
    graph: DependencyGraph,
    state: State,
    images: Tensor,
    weights: Sensitivities,
    *,
    seed: int = 0,
    reporter: Reporter = SILENT,
) -> MeasuredScores:
    """What the network loses with each channel after a re-fit, for each MAC saved.

    `images` (B, C, H, W) are network inputs, `weights` what an error in each output counts.
    """
    spec = graph.spec
    shapes = layer_shapes(spec)
    generator = torch.Generator().manual_seed(seed)
    members = _readers_of(graph)
    last = {
        group.id: max((m.layer for m in group.consumers), default=-1) for group in graph.prunable
    }
    waiting: dict[int, list[Reader]] = {group.id: [] for group in graph.prunable}
    losses = {group.id: np.zeros(group.size) for group in graph.prunable}
    stream, chunks = _stream(graph, state, images)
    for layer in reporter.track(spec.layers, "scoring channels"):
        if isinstance(layer, Conv) and layer.index in members:
            in_channels = source_shapes(layer, spec, shapes)[0][0]
            moments = _moments(stream, layer, in_channels, shapes[layer.index], generator)
            rows = state[layer.index].kernel.double().flatten(2)  # (F, C/g, k^2)
            rows = rows * weights[layer.index].sqrt()[:, None, None]
            for group, member in members[layer.index]:
                waiting[group.id] += readers_of(layer, member, rows, moments)
                if last[group.id] == layer.index:
                    losses[group.id] = losses_by_elimination(group, waiting.pop(group.id))
        for chunk in range(chunks):
            stream.run(layer, chunk)
    return _per_mac(graph, losses)


def memory_needed(graph: DependencyGraph, images: int) -> int:
    """Roughly the bytes that `reconstruction_scores` holds at most, beside the network.

    `activation_scores` needs less.
    """
    spec, shapes = graph.spec, layer_shapes(graph.spec)
    at_once, outputs = min(images, CHUNK), largest_outputs(spec)
    widths, held = {}, []
    for conv in spec.convs:
        in_channels, shape = source_shapes(conv, spec, shapes)[0][0], shapes[conv.index]
        width = window_values(conv, in_channels) + 1
        # The Gram matrix, the same with its ridge, its factor, its inverse, and two copies of that
        # while the columns that are read are taken out of it.
        work = 8 * 6 * conv.groups * width**2
        # Or the samples of a chunk, or its output before and after batch norm.
        samples = at_once * positions_per_image(conv, in_channels, shape, images)
        work = max(work, samples * sample_bytes(conv, width), 8 * at_once * math.prod(shape))
        widths[conv.index] = width
        held.append(4 * images * outputs[conv.index] + work)
    # A group waits for its last consumer with the inverse matrices of all.
    waiting = sum(
        8 * widths[member.layer] ** 2
        for group in graph.prunable
        if len(group.consumers) > 1
        for member in group.consumers
    )
    # The images stay with the caller, also when the network has read them.
    return 4 * images * math.prod(spec.input_shape) + max(held) + waiting


def _per_mac(graph: DependencyGraph, losses: Mapping[int, NDArray[np.float64]]) -> MeasuredScores:
    """Losses divided by the MACs that the removal of one channel saves, all others staying."""
    dense = {layer.index: layer.macs for layer in cost(graph.spec).per_layer}
    scores = {}
    for group in graph.prunable:
        macs = np.zeros(group.size)
        for members, ids in (
            (group.producers, graph.channels.outputs),
            (group.consumers, graph.channels.inputs),
        ):
            for member in members:
                share = dense[member.layer] / len(ids[member.layer])
                np.add.at(macs, np.asarray(member.channels), share)
        scores[group.id] = losses[group.id] / macs
    return scores


def _readers_of(graph: DependencyGraph) -> dict[int, list[tuple[ChannelGroup, Member]]]:
    """The prunable groups that each convolution reads, by layer index."""
    found: dict[int, list[tuple[ChannelGroup, Member]]] = {}
    for group in graph.prunable:
        for member in group.consumers:
            found.setdefault(member.layer, []).append((group, member))
    return found


def _stream(graph: DependencyGraph, state: State, images: Tensor) -> tuple[Stream, int]:
    chunks = torch.split(images, CHUNK)
    return Stream(Network.from_state(graph.spec, state), chunks), len(chunks)


def _moments(
    stream: Stream,
    conv: Conv,
    in_channels: int,
    shape: tuple[int, int, int],
    generator: torch.Generator,
) -> Moments:
    """Moments of what a convolution reads; y is left empty."""
    count = positions_per_image(conv, in_channels, shape, stream.images)

    def samples() -> Iterable[tuple[Tensor, Tensor]]:
        for chunk in range(stream.chunks):
            (inputs,) = stream.inputs(conv, chunk)
            positions = random_positions(len(inputs), shape, count, generator)
            u = patches(inputs, conv, positions)
            yield u, u.new_zeros(conv.groups, u.shape[1], conv.filters // conv.groups)

    return gather(conv, in_channels, samples())
