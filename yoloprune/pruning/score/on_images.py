"""Criteria that look at what flows through the network, not at its weights alone.

- `reconstruction`: what the network loses with a channel when the kernels that read it are
  re-fitted to do without (`elimination`); an error in a consumer's output counts by what it does at
  the outputs and by its share in what the consumer gives (`sensitivity`).
- `activation`: mean |activation| times the norm of the kernels that read it.
- `taylor`: what the loss would change by, to first order. P. Molchanov et al., "Importance
  Estimation for Neural Network Pruning", 2019. The loss needs labels, so its gradients are computed
  elsewhere and come in as a mapping.

Their scores may be ranked over the whole network as they are. `reconstruction` and `taylor` give
what is lost for each multiply-accumulate that a channel's removal saves.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from yoloprune.execution.stream import (
    Images,
    Stream,
    arrays_like,
    batched,
    chunked,
    computed,
    fitting,
    held,
    only_input,
    stretches,
)
from yoloprune.graph.operators.table import operator_of
from yoloprune.pruning.groups import ChannelGroup, DependencyGraph, Member
from yoloprune.pruning.layers import Arrays, Layer, by_filter, layers_of
from yoloprune.pruning.recover.memory import CHUNK
from yoloprune.pruning.recover.moments import (
    Moments,
    gather,
    joined,
    patches,
    positions_per_image,
    random_positions,
    sample_bytes,
    window_values,
    windows_of,
)
from yoloprune.pruning.score.elimination import Reader, losses_by_elimination, readers_of
from yoloprune.pruning.score.sensitivity import Sensitivities
from yoloprune.pruning.solve import normalized
from yoloprune.reporter import SILENT, Reporter

MeasuredScores: TypeAlias = dict[int, NDArray[np.float64]]
"""Scores of all prunable groups, by group id."""


def taylor_scores(
    dependencies: DependencyGraph, input_gradients: Mapping[str, NDArray[np.float64]]
) -> MeasuredScores:
    """Squared first-order changes of the loss, mean over images, for each MAC saved.

    `input_gradients` has, by node, (B, C): the loss's derivative by a factor on each channel that a
    layer reads, for each of B images. Where a channel is read is where it is missed: so one that
    passes several layers, a depthwise convolution for instance, counts once.
    """
    saved, scores = _saved_macs(dependencies), {}
    for group in dependencies.prunable:
        images = len(next(iter(input_gradients.values())))
        change = np.zeros((group.size, images))
        for member in group.consumers:
            own = input_gradients[member.node][:, np.asarray(member.positions)]
            np.add.at(change, np.asarray(member.channels), own.T)
        scores[group.id] = np.square(change).mean(axis=1) / saved[group.id]
    return scores


def activation_scores(
    dependencies: DependencyGraph,
    parameters: Arrays,
    images: Images,
    *,
    reporter: Reporter = SILENT,
) -> MeasuredScores:
    """Mean |activation| of each channel times the L2 norm of what reads it, by group means."""
    scores = {group.id: np.zeros(group.size) for group in dependencies.prunable}
    readers = _readers_of(dependencies)
    for layer, stream, _ in _stops(dependencies, parameters, images, reporter):
        # Sums, as the last chunk may have fewer images than the others.
        sums = []
        for chunk in range(stream.chunks):
            read = stream.value(layer.source, chunk).movedim(layer.channel_axis, 1).abs()
            means = read.mean(dim=tuple(range(2, read.dim()))) if read.dim() > 2 else read
            sums.append(means.sum(dim=0))
        filters = by_filter(layer, stream.array(layer.kernel)).double()
        # Each convolution group's columns follow one another, as its input channels do.
        parts = filters.reshape(layer.groups, -1, *filters.shape[1:]).movedim(2, 1).flatten(2)
        norms = parts.square().sum(dim=2).sqrt().flatten()
        strength = (torch.stack(sums).sum(dim=0).double() * norms).numpy(force=True)
        for group, member in readers[layer.name]:
            own = strength[np.asarray(member.positions)]
            np.add.at(scores[group.id], np.asarray(member.channels), own)
    return normalized(scores)


def reconstruction_scores(
    dependencies: DependencyGraph,
    parameters: Arrays,
    images: Images,
    weights: Sensitivities,
    *,
    seed: int = 0,
    reporter: Reporter = SILENT,
) -> MeasuredScores:
    """What the network loses with each channel after a re-fit, for each MAC saved.

    `images` (B, C, H, W) are network inputs, on the device on which everything is computed;
    `weights` are what an error in each output counts. The windows of a transposed convolution are
    taken for as many filters that are 1 x 1: as if they did not overlap.
    """
    generator = torch.Generator().manual_seed(seed)
    saved = _saved_macs(dependencies)
    together = {group.id: own for own in _read_together(dependencies) for group in own.groups}
    waiting: dict[int, list[Reader]] = {group.id: [] for group in dependencies.prunable}
    scores = dict[int, NDArray[np.float64]]()
    readers = _readers_of(dependencies)
    # A group is done with the last of its consumers in the order of the nodes.
    last = {group.id: name for name, members in readers.items() for group, _ in members}
    gathered: dict[str, Moments] = {}
    for layer, stream, done in _stops(dependencies, parameters, images, reporter):
        moments = _moments(stream, layer, positions_per_image(layer, len(images)), generator)
        if layer.name in gathered:
            moments = joined([gathered.pop(layer.name), moments])
        if not done:
            gathered[layer.name] = moments
            continue
        rows = _rows(layer, stream.array(layer.kernel), weights[layer.name])
        for first in dict.fromkeys(together[own.id].groups[0].id for own, _ in readers[layer.name]):
            own = together[first]
            waiting[first] += readers_of(own.member(layer.name), rows, moments)
            if last[first] == layer.name:
                savings = np.concatenate([saved[each.id] for each in own.groups])
                found = losses_by_elimination(waiting.pop(first), savings)
                scores |= own.apart(found)
    unread = [group for group in dependencies.prunable if group.id not in last]
    lost = _losses_unread(dependencies, parameters, images, weights, unread)
    return scores | {number: values / saved[number] for number, values in lost.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Together:
    """Groups that the same layers read, numbered through.

    Each may be cheap as long as the others stay: so they are eliminated together.
    """

    groups: tuple[ChannelGroup, ...]

    def member(self, node: str) -> Member:
        """Where the channels of all stand in a layer that reads them."""
        positions, channels, first = list[int](), list[int](), 0
        for group in self.groups:
            for member in group.consumers:
                if member.node == node:
                    positions += member.positions
                    channels += [first + channel for channel in member.channels]
            first += group.size
        return Member(node=node, positions=tuple(positions), channels=tuple(channels))

    def apart(self, values: NDArray[np.float64]) -> MeasuredScores:
        """What belongs to each group, by its id."""
        ends = np.cumsum([group.size for group in self.groups])
        parts = np.split(values, ends[:-1])
        return {group.id: part for group, part in zip(self.groups, parts, strict=True)}


def _read_together(dependencies: DependencyGraph) -> list[_Together]:
    found: dict[frozenset[str], list[ChannelGroup]] = {}
    for group in dependencies.prunable:
        found.setdefault(frozenset(own.node for own in group.consumers), []).append(group)
    return [_Together(groups=tuple(groups)) for groups in found.values()]


def _losses_unread(
    dependencies: DependencyGraph,
    parameters: Arrays,
    images: Images,
    weights: Sensitivities,
    groups: Sequence[ChannelGroup],
) -> dict[int, NDArray[np.float64]]:
    """What is lost with channels that no kernel reads, as those of queries and keys.

    There is nothing to re-fit: where they are given, their own numbers become 0.
    """
    layers, graph = layers_of(dependencies), dependencies.graph
    givers = {member.node: layers[member.node] for group in groups for member in group.producers}
    energies = {own: np.zeros(layer.filters) for own, layer in givers.items()}
    arrays, name = arrays_like(graph, parameters, images[:1]), only_input(graph)
    batches = batched(graph, images, CHUNK) if groups else ()
    for batch in batches:
        chunks = chunked(graph, images[batch], CHUNK)
        for chunk in chunks:
            with torch.inference_mode():
                values = computed(graph, arrays, {name: chunk}, [g.output for g in givers.values()])
            for own, layer in givers.items():
                squares = values[layer.output].double().square().movedim(layer.channel_axis, 0)
                mean = squares.flatten(1).mean(dim=1).cpu().numpy()
                energies[own] += mean / (len(chunks) * len(batches))
    losses = {}
    for group in groups:
        losses[group.id] = np.zeros(group.size)
        for member in group.producers:
            filters = np.asarray(member.positions)
            counts = weights[member.node].cpu().numpy()[filters]
            np.add.at(
                losses[group.id],
                np.asarray(member.channels),
                counts * energies[member.node][filters],
            )
    return losses


def memory_needed(dependencies: DependencyGraph, images: int) -> int:
    """Roughly the bytes that `reconstruction_scores` holds at most, beside the network.

    `activation_scores` needs less.
    """
    return _Memory(dependencies, images).needed(images_at_once(dependencies, images))


def images_at_once(dependencies: DependencyGraph, images: int) -> int:
    """How many of so many images run through the network at once."""
    return fitting(images, CHUNK, _Memory(dependencies, images).needed)


class _Memory:
    """What scoring by so many images holds, by how many of them run at once."""

    def __init__(self, dependencies: DependencyGraph, images: int) -> None:
        self._images = images
        readers, layers = _readers_of(dependencies), layers_of(dependencies)
        graph, shapes = dependencies.graph, dependencies.labels.facts.shapes
        parts = stretches(graph, readers)
        self._parts = [
            (values, layers[part[0].name] if part and part[0].name in readers else None)
            for part, values in zip(parts, held(graph, shapes, parts), strict=True)
        ]
        # A group waits for its last consumer with the inverse matrices of all.
        self._waiting = sum(
            8 * (window_values(layers[member.node]) + 1) ** 2
            for group in dependencies.prunable
            if len(group.consumers) > 1
            for member in group.consumers
        )
        # The images stay with the caller, also when the network has read them.
        self._given = sum(math.prod(shapes[name]) for name in graph.inputs)

    def needed(self, batch: int) -> int:
        at_once = min(batch, CHUNK)
        most = stored = 0
        for values, layer in self._parts:
            work = 4 * at_once * values.passing
            if layer is not None:
                work = max(work, self._work(layer, at_once))
                width = window_values(layer) + 1
                stored += 8 * width * (layer.groups * width + layer.filters)
            most = max(most, 4 * batch * values.between + work)
        stored = stored if batch < self._images else 0
        return 4 * batch * self._given + most + self._waiting + stored

    def _work(self, layer: Layer, at_once: int) -> int:
        # The Gram matrix, the same with its ridge, its factor, its inverse, and two copies of that
        # while the columns that are read are taken out of it.
        matrices = 8 * 6 * layer.groups * (window_values(layer) + 1) ** 2
        samples = at_once * positions_per_image(layer, self._images)
        return max(matrices, samples * sample_bytes(layer))


def _stops(
    dependencies: DependencyGraph, parameters: Arrays, images: Images, reporter: Reporter
) -> Iterator[tuple[Layer, Stream, bool]]:
    """The layers that read prunable groups, each when what it reads is known for all images.

    For all of a batch, where they are too many, and then for those of the next; whether a batch is
    the last.
    """
    graph, layers = dependencies.graph, layers_of(dependencies)
    readers = _readers_of(dependencies)
    parts = stretches(graph, readers)
    batches = batched(graph, images, images_at_once(dependencies, len(images)))
    ticks = reporter.track(range(len(batches) * len(parts)), "scoring channels")
    for batch in batches:
        stream = Stream(graph, parameters, chunked(graph, images[batch], CHUNK))
        for part in parts:
            next(ticks)
            if part and part[0].name in readers:
                yield layers[part[0].name], stream, batch is batches[-1]
            for chunk in range(stream.chunks):
                stream.run(part, chunk)
    next(ticks, None)


def _saved_macs(dependencies: DependencyGraph) -> dict[int, NDArray[np.float64]]:
    """The MACs that the removal of each channel saves, all others staying, by group."""
    shapes, layers = dependencies.labels.facts.shapes, layers_of(dependencies)

    def each(member: Member, count: int) -> float:
        node = layers[member.node].node
        given = [shapes[name] for name in node.outputs]
        read = [shapes.get(name) for name in node.inputs]
        return operator_of(node).macs(node, read, given) / count

    saved = {}
    for group in dependencies.prunable:
        macs = saved[group.id] = np.zeros(group.size)
        for member in group.producers:
            share = each(member, layers[member.node].filters)
            np.add.at(macs, np.asarray(member.channels), share)
        for member in group.consumers:
            share = each(member, layers[member.node].channels)
            np.add.at(macs, np.asarray(member.channels), share)
    return saved


def _readers_of(
    dependencies: DependencyGraph,
) -> dict[str, list[tuple[ChannelGroup, Member]]]:
    """The prunable groups that each layer reads, by node, in the order of the nodes."""
    found: dict[str, list[tuple[ChannelGroup, Member]]] = {
        layer.node: [] for layer in dependencies.labels.contractions
    }
    for group in dependencies.prunable:
        for member in group.consumers:
            found[member.node].append((group, member))
    return {name: members for name, members in found.items() if members}


def _rows(layer: Layer, kernel: Tensor, weights: Tensor) -> Tensor:  # -> (R, C / g, k) float64
    """What a layer's filters make of what they read, weighted by what an error in each counts."""
    filters = by_filter(layer, kernel).double()
    weighted = filters.reshape(*filters.shape[:2], -1) * weights.to(filters).sqrt()[:, None, None]
    if layer.node.operator == "ConvTranspose":
        return weighted.transpose(1, 2).flatten(0, 1)[..., None]
    return weighted


def _moments(stream: Stream, layer: Layer, count: int, generator: torch.Generator) -> Moments:
    """Moments of what a layer reads in so many places of each image; y is left empty."""
    sizes = windows_of(layer).sizes

    def samples() -> Iterator[tuple[Tensor, Tensor]]:
        for chunk in range(stream.chunks):
            inputs = stream.value(layer.source, chunk)
            u = patches(inputs, layer, random_positions(len(inputs), sizes, count, generator))
            yield u, u.new_zeros(layer.groups, u.shape[1], layer.filters // layer.groups)

    return gather(layer, samples())
