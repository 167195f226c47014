"""Channel groups: what must be removed together, and from where.

Example. Layer 0 is a convolution with 4 filters, layer 1 a convolution with 4 filters that reads
it, layer 2 a shortcut that adds the two, layer 3 a convolution that reads the sum:

    conv 0 ──┬── conv 1 ── shortcut 2 ── conv 3
             └───────────────┘

Channel 2 of conv 0 and channel 2 of conv 1 meet in the shortcut: one channel. Conv 0 and conv 1
together form one group of four channels with the producers 0 and 1 and the consumers 1 and 3.
Removing its channel 2 removes filter 2 of convs 0 and 1, and kernel column 2 of convs 1 and 3.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from yoloprune.darknet.spec import NetworkSpec
from yoloprune.pruning.channels import (
    ChannelMap,
    Ids,
    Partition,
    is_depthwise,
    map_channels,
    tie,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """Where a group's channels stand in one convolution.

    `positions[i]` (a filter of a producer, a kernel column of a consumer) belongs to channel number
    `channels[i]` of the group.
    """

    layer: int
    positions: tuple[int, ...]
    channels: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelGroup:
    """Channels with the same producers; each is removed from all of them and from all consumers.

    `channels` are canonical channel ids; `frozen_because` is None for a prunable group;
    `equal_parts` is the number of equal runs of `channels` that must keep equally many (1: free).
    """

    id: int
    channels: tuple[int, ...]
    producers: tuple[Member, ...]
    consumers: tuple[Member, ...]
    frozen_because: str | None
    equal_parts: int

    @property
    def size(self) -> int:
        """Number of channels."""
        return len(self.channels)

    @property
    def part_size(self) -> int:
        """Number of channels in each of the `equal_parts` runs."""
        return self.size // self.equal_parts

    @property
    def coupled(self) -> bool:
        """Whether several convolutions produce each channel."""
        return len(self.producers) > 1


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DependencyGraph:
    """A network's channels and their groups, ordered by producers."""

    spec: NetworkSpec
    channels: ChannelMap
    groups: tuple[ChannelGroup, ...]

    @property
    def prunable(self) -> tuple[ChannelGroup, ...]:
        """The groups from which channels may be removed."""
        return tuple(group for group in self.groups if group.frozen_because is None)

    def kept(self, keep: Mapping[int, tuple[int, ...]]) -> NDArray[np.bool_]:
        """Mask over channel ids: False for what `keep` (group id -> channel numbers) leaves out.

        Groups that `keep` does not name stay whole.
        """
        mask = np.ones(self.channels.count, dtype=np.bool_)
        for group_id, numbers in keep.items():
            ids = np.asarray(self.groups[group_id].channels)
            mask[ids] = False
            mask[ids[list(numbers)]] = True
        return mask


def analyse(spec: NetworkSpec) -> DependencyGraph:
    """Find all channel groups of a network."""
    channels = map_channels(spec)
    while True:
        groups = _collect(spec, channels)
        beginning = {group.channels[0]: group for group in groups}
        owners = [(p, _owner(p, beginning)) for p in channels.partitions if not p.tied]
        parts: dict[int, int] = {}
        for partition, owner in owners:
            if owner is not None:
                parts[owner.id] = math.lcm(parts.get(owner.id, 1), partition.parts)
        # Runs across several groups, or of lengths that no common count divides, are kept equal
        # channel by channel: the i-th of each run becomes one channel.
        loose = [p for p, owner in owners if owner is None or owner.size % parts[owner.id]]
        if not loose:
            break
        channels = tie(channels, loose)
    groups = [replace(group, equal_parts=parts.get(group.id, 1)) for group in groups]
    return DependencyGraph(spec=spec, channels=channels, groups=tuple(groups))


def _collect(spec: NetworkSpec, channels: ChannelMap) -> list[ChannelGroup]:
    """Groups of the channels that share all their producers and their reason to be frozen."""
    alike = _alike(spec, channels)
    group_of = np.full(channels.count, -1, dtype=np.int64)
    number = np.zeros(channels.count, dtype=np.int64)
    for group_id, (ids, _) in enumerate(alike):
        group_of[ids] = group_id
        number[ids] = np.arange(len(ids))
    producers: list[list[Member]] = [[] for _ in alike]
    consumers: list[list[Member]] = [[] for _ in alike]
    for conv in spec.convs:
        _add_members(producers, conv.index, channels.outputs[conv.index], group_of, number)
        if not is_depthwise(conv, len(channels.inputs[conv.index])):
            _add_members(consumers, conv.index, channels.inputs[conv.index], group_of, number)
    return [
        ChannelGroup(
            id=group_id,
            channels=tuple(ids.tolist()),
            producers=tuple(producers[group_id]),
            consumers=tuple(consumers[group_id]),
            frozen_because=reason or None,
            equal_parts=1,
        )
        for group_id, (ids, reason) in enumerate(alike)
    ]


def _alike(spec: NetworkSpec, channels: ChannelMap) -> list[tuple[Ids, str]]:
    """The ids of each group, and the reason to be frozen or ""; groups in order of producers.

    Labels are refined layer by layer: ids that a layer produces, once or several times, part from
    those that it does not. A label stands for the one before it and that layer, so that a long
    chain of producers is written down once and not anew with every label.
    """
    reasons = ["", *sorted(set(channels.frozen.values()))]
    first = {reason: i for i, reason in enumerate(reasons)}
    before: list[tuple[int, tuple[int, int]]] = [(-1, (-1, 0))] * len(reasons)
    label = np.zeros(channels.count, dtype=np.int64)
    for i, reason in channels.frozen.items():
        label[i] = first[reason]
    for conv in spec.convs:
        ids = channels.outputs[conv.index]
        times = np.ones(1, dtype=np.int64)
        if (ids[1:] <= ids[:-1]).any():
            ids, times = np.unique(ids, return_counts=True)
        base = int(np.max(times)) + 1
        pairs = label[ids] * base + times
        old, inverse = np.unique(pairs, return_inverse=True)
        label[ids] = len(before) + inverse
        before += [(pair // base, (conv.index, pair % base)) for pair in old.tolist()]

    def signature(name: int) -> tuple[tuple[tuple[int, int], ...], str]:
        producers = []
        while name >= len(reasons):
            name, producer = before[name]
            producers.append(producer)
        return tuple(reversed(producers)), reasons[name]

    # Labels without producers stand for the network's input and for ids that others replaced.
    found = [(signature(name), ids) for name, ids in _runs(label) if name >= len(reasons)]
    found.sort(key=lambda pair: pair[0])
    return [(ids, reason) for (_, reason), ids in found]


def _runs(values: Ids) -> list[tuple[int, Ids]]:
    """Each value that occurs, ascending, and the positions where it does."""
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    starts = np.flatnonzero(np.diff(ordered)) + 1
    return [(int(values[run[0]]), run) for run in np.split(order, starts)]


def _add_members(
    members: list[list[Member]], layer: int, ids: Ids, group_of: Ids, number: Ids
) -> None:
    for group_id, positions in _runs(group_of[ids]):
        if group_id < 0:
            continue  # The network's input channels belong to no group.
        members[group_id].append(
            Member(
                layer=layer,
                positions=tuple(positions.tolist()),
                channels=tuple(number[ids[positions]].tolist()),
            )
        )


def _owner(partition: Partition, beginning: Mapping[int, ChannelGroup]) -> ChannelGroup | None:
    """The group whose channels are exactly those of the partition, in the same order.

    `beginning` are the groups by their first channel.
    """
    group = beginning.get(int(partition.ids[0]))
    if group is None or not np.array_equal(group.channels, partition.ids):
        return None
    return group
