"""Channel groups: what must be removed together, and from where.

Example. Convolution a has 4 filters, convolution b reads it and has 4 filters, the two are added,
and convolution c reads the sum:

    a ──┬── b ── + ── c
        └────────┘

Channel 2 of a and channel 2 of b meet in the sum: one channel. Together a and b form one group of
four channels with the producers a and b and the consumers b and c. Removing its channel 2 removes
filter 2 of a and b, and kernel column 2 of b and c.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from yoloprune.graph.graph import Graph
from yoloprune.pruning.labels.ids import NONE, Ids
from yoloprune.pruning.labels.label import label
from yoloprune.pruning.labels.labels import Labels, Partition, tie


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """Where a group's channels stand in the kernel of one node.

    `positions[i]` (a filter of a producer, a kernel column of a consumer) belongs to channel number
    `channels[i]` of the group.
    """

    node: str
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
        """Whether several nodes produce each channel."""
        return len(self.producers) > 1


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DependencyGraph:
    """A graph's channels and their groups, ordered by producers."""

    graph: Graph
    labels: Labels
    groups: tuple[ChannelGroup, ...]
    digest: str
    """The graph's: plans are made for it."""

    @property
    def prunable(self) -> tuple[ChannelGroup, ...]:
        """The groups from which channels may be removed."""
        return tuple(group for group in self.groups if group.frozen_because is None)

    def kept(self, keep: Mapping[int, tuple[int, ...]]) -> NDArray[np.bool_]:
        """Mask over channel ids: False for what `keep` (group id -> channel numbers) leaves out.

        Groups that `keep` does not name stay whole.
        """
        mask = np.ones(self.labels.count, dtype=np.bool_)
        for group_id, numbers in keep.items():
            ids = np.asarray(self.groups[group_id].channels)
            mask[ids] = False
            mask[ids[list(numbers)]] = True
        return mask


@lru_cache(maxsize=4)
def analyze(graph: Graph) -> DependencyGraph:
    """Find all channel groups of a graph; of the last graphs they are remembered.

    A graph never changes, and each part of a run asks for the groups of the same one.
    """
    labels = label(graph)
    while True:
        groups = _collect(labels)
        beginning = {group.channels[0]: group for group in groups}
        owners = [(p, _owner(p, beginning)) for p in labels.partitions if not p.tied]
        parts: dict[int, int] = {}
        for partition, owner in owners:
            if owner is not None:
                parts[owner.id] = math.lcm(parts.get(owner.id, 1), partition.parts)
        # Runs across several groups, or of lengths that no common count divides, are kept equal
        # channel by channel: the i-th of each run becomes one channel.
        loose = [p for p, owner in owners if owner is None or owner.size % parts[owner.id]]
        if not loose:
            break
        labels = tie(labels, loose)
    groups = [replace(group, equal_parts=parts.get(group.id, 1)) for group in groups]
    return DependencyGraph(graph=graph, labels=labels, groups=tuple(groups), digest=graph.digest())


def _collect(labels: Labels) -> list[ChannelGroup]:
    """Groups of the channels that share all their producers and their reason to be frozen."""
    alike = _alike(labels)
    group_of = np.full(labels.count, -1, dtype=np.int64)
    number = np.zeros(labels.count, dtype=np.int64)
    for group_id, (ids, _) in enumerate(alike):
        group_of[ids] = group_id
        number[ids] = np.arange(len(ids))
    producers: list[list[Member]] = [[] for _ in alike]
    consumers: list[list[Member]] = [[] for _ in alike]
    for found in labels.contractions:
        _add_members(producers, found.node, found.filters, group_of, number)
        if not found.depthwise:
            _add_members(consumers, found.node, found.columns, group_of, number)
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


def _alike(labels: Labels) -> list[tuple[Ids, str]]:
    """The ids of each group, and the reason to be frozen or ""; groups in order of producers.

    Names are refined contraction by contraction: ids that one produces, once or several times, part
    from those that it does not. A name stands for the one before it and that contraction, so that a
    long chain of producers is written down once and not anew with every name. At last those part
    that stand in a subset, so that each keeps channels of its own.
    """
    reasons = ["", *sorted(set(labels.frozen.values()))]
    first = {reason: i for i, reason in enumerate(reasons)}
    before: list[tuple[int, tuple[int, int]]] = [(-1, (-1, 0))] * len(reasons)
    name = np.zeros(labels.count, dtype=np.int64)
    for i, reason in labels.frozen.items():
        name[i] = first[reason]
    contractions = [found.filters for found in labels.contractions]
    for number, ids in enumerate((*contractions, *labels.subsets)):
        ids = ids[ids != NONE]
        times = np.ones(1, dtype=np.int64)
        if (ids[1:] <= ids[:-1]).any():
            ids, times = np.unique(ids, return_counts=True)
        base = int(np.max(times, initial=1)) + 1
        pairs = name[ids] * base + times
        old, inverse = np.unique(pairs, return_inverse=True)
        name[ids] = len(before) + inverse
        before += [(pair // base, (number, pair % base)) for pair in old.tolist()]

    def signature(own: int) -> tuple[tuple[tuple[int, int], ...], str]:
        producers = []
        while own >= len(reasons):
            own, producer = before[own]
            producers.append(producer)
        return tuple(reversed(producers)), reasons[own]

    # Names without producers stand for a graph's inputs and for ids that others replaced.
    found = []
    for own, ids in _runs(name):
        if own >= len(reasons):
            producers, reason = signature(own)
            if producers[0][0] < len(contractions):
                found.append(((producers, reason), ids))
    found.sort(key=lambda pair: pair[0])
    return [(ids, reason) for (_, reason), ids in found]


def _runs(values: Ids) -> list[tuple[int, Ids]]:
    """Each value that occurs, ascending, and the positions where it does."""
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    starts = np.flatnonzero(np.diff(ordered)) + 1
    return [(int(values[run[0]]), run) for run in np.split(order, starts)]


def _add_members(
    members: list[list[Member]], node: str, ids: Ids, group_of: Ids, number: Ids
) -> None:
    for group_id, positions in _runs(group_of[ids]):
        if group_id < 0:
            continue  # What a graph is given belongs to no group.
        members[group_id].append(
            Member(
                node=node,
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


def named(group: ChannelGroup) -> str:
    """How messages call a group: by what produces it."""
    return ", ".join(member.node for member in group.producers)
