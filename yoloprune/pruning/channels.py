"""The walk over channel ids: which channels of which layers are one and the same.

Every convolution gives birth to new ids. A shortcut makes the channels that it adds the same
channel; a route concatenates; pooling and upsampling pass through. Two channels with the same
canonical id can only be removed together.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from yoloprune.darknet.spec import (
    INPUT,
    Conv,
    Head,
    NetworkSpec,
    Reorg,
    Route,
    Sam,
    ScaleChannels,
    Shortcut,
)

Ids: TypeAlias = NDArray[np.int64]
"""Channel ids in the order of a layer's channels; an id may occur several times."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Partition:
    """Channels that a layer cuts into `parts` equally long runs, which must stay equally long."""

    ids: Ids
    parts: int

    @property
    def tied(self) -> bool:
        """Whether all runs hold the same ids, so that they cannot become unequal."""
        runs = self.ids.reshape(self.parts, -1)
        return bool((runs == runs[0]).all())


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ChannelMap:
    """Canonical ids of every layer's input (all sources in order) and output channels.

    `frozen` gives the reason for each id that must stay; ids run from 0 to `count` - 1, and the
    canonical id of a set is its smallest.
    """

    inputs: tuple[Ids, ...]
    outputs: tuple[Ids, ...]
    frozen: Mapping[int, str]
    partitions: tuple[Partition, ...]
    count: int


def map_channels(spec: NetworkSpec) -> ChannelMap:
    """Follow the channels through all layers of a network."""
    image = np.arange(spec.input_shape[0], dtype=np.int64)
    count = len(image)
    outputs: dict[int, Ids] = {INPUT: image}
    inputs: list[Ids] = []
    unions: list[tuple[Ids, Ids]] = []
    partitions: list[Partition] = []
    frozen: list[tuple[Ids, str]] = [(image, "network input")]

    for layer in spec.layers:
        sources = [outputs[s] for s in layer.sources]
        first = sources[0]
        output = first
        match layer:
            case Conv():
                output = np.arange(count, count + layer.filters, dtype=np.int64)
                count += layer.filters
                if is_depthwise(layer, len(first)):
                    # One input channel a group: it and its outputs go together.
                    unions.append((np.repeat(first, layer.filters // layer.groups), output))
                elif layer.groups > 1:
                    partitions.append(Partition(ids=first, parts=layer.groups))
                    partitions.append(Partition(ids=output, parts=layer.groups))
            case Shortcut():
                for other in sources[1:]:
                    shared = min(len(first), len(other))
                    unions.append((first[:shared], other[:shared]))
            case Route():
                if layer.groups > 1:
                    partitions += [Partition(ids=ids, parts=layer.groups) for ids in sources]
                    sources = [np.split(ids, layer.groups)[layer.group_id] for ids in sources]
                output = np.concatenate(sources)
            case Reorg():
                block = layer.stride**2
                if layer.mixes_channels:
                    blocks = first.reshape(-1, block)
                    unions += [(blocks[:, 0], blocks[:, i]) for i in range(1, block)]
                    # Output k is a piece of plane k // block; the planes repeat the blocks.
                    output = np.repeat(np.tile(blocks[:, 0], block), block)
                else:
                    output = np.tile(first, block)
            case ScaleChannels() | Sam():
                unions.append((first, sources[1]))
            case Head():
                frozen.append((first, f"read by {layer.title}"))
            case _:
                pass
        outputs[layer.index] = output
        inputs.append(sources[0] if len(sources) == 1 else np.concatenate(sources))
    last = spec.layers[-1]
    if not isinstance(last, Head):
        frozen.append((outputs[last.index], "network output"))

    canonical = _connect(count, unions)
    return ChannelMap(
        inputs=tuple(canonical[ids] for ids in inputs),
        outputs=tuple(canonical[outputs[layer.index]] for layer in spec.layers),
        frozen=_reasons(frozen, canonical),
        partitions=tuple(Partition(ids=canonical[p.ids], parts=p.parts) for p in partitions),
        count=count,
    )


def is_depthwise(conv: Conv, in_channels: int) -> bool:
    """Whether each group of a convolution reads a single channel (and may emit several)."""
    return conv.groups > 1 and conv.groups == in_channels


def tie(channels: ChannelMap, partitions: list[Partition]) -> ChannelMap:
    """Make the i-th channels of all runs of each partition one channel."""
    unions = []
    for partition in partitions:
        runs = partition.ids.reshape(partition.parts, -1)
        unions += [(runs[0], run) for run in runs[1:]]
    canonical = _connect(channels.count, unions)
    frozen = [(np.array([i]), reason) for i, reason in channels.frozen.items()]
    return ChannelMap(
        inputs=tuple(canonical[ids] for ids in channels.inputs),
        outputs=tuple(canonical[ids] for ids in channels.outputs),
        frozen=_reasons(frozen, canonical),
        partitions=tuple(
            Partition(ids=canonical[p.ids], parts=p.parts) for p in channels.partitions
        ),
        count=channels.count,
    )


def _connect(count: int, unions: list[tuple[Ids, Ids]]) -> Ids:
    """Smallest id of each connected component, for ids 0 to count - 1."""
    label = np.arange(count, dtype=np.int64)
    if not unions:
        return label
    a = np.concatenate([u for u, _ in unions])
    b = np.concatenate([v for _, v in unions])
    while True:
        smallest = np.minimum(label[a], label[b])
        before = label.copy()
        # Hook the labels themselves too, so that whole sets move at once; then follow to the root.
        np.minimum.at(label, before[a], smallest)
        np.minimum.at(label, before[b], smallest)
        while not np.array_equal(shorter := label[label], label):
            label = shorter
        if np.array_equal(label[a], label[b]):
            return label


def _reasons(frozen: list[tuple[Ids, str]], canonical: Ids) -> dict[int, str]:
    reasons: dict[int, str] = {}
    for ids, reason in frozen:
        for i in canonical[ids].tolist():
            reasons.setdefault(i, reason)
    return reasons
