"""Labels: which channels of which values are one and the same (`walk` finds them).

Two channels with the same canonical id can only be removed together.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from yoloprune.graph.shapes import Facts
from yoloprune.pruning.labels.ids import Ids, connect, varying


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Vector:
    """A node's reading of an array (parameter or constant) along axes that hold channels.

    `axes` gives, by axis, the ids in order; the other axes are read whole.
    """

    node: str
    input: int
    name: str
    axes: Mapping[int, Ids]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Contraction:
    """A node's reading of a kernel: it sums over columns and gives a channel for each filter.

    `filters` are the ids of what it gives, `columns` of what it reads, in order, over all `groups`.
    The kernel holds equal runs of them: along `filter_axis` and `column_axis`, the groups one after
    the other along axis 0. A depthwise contraction reads one channel a group: its kernel has no
    columns, and its `group` attribute counts what it reads, `read`.
    """

    node: str
    input: int
    name: str
    filter_axis: int
    column_axis: int
    groups: int
    filters: Ids
    read: Ids

    @property
    def depthwise(self) -> bool:
        """Whether each group reads a single channel (and may give several)."""
        return 1 < self.groups == len(self.read)

    @property
    def columns(self) -> Ids:
        """The ids of the kernel's columns: what is read, or none."""
        return self.read[:0] if self.depthwise else self.read


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sum:
    """A node's reading of a value whose channels it sums over: removed ones count as 0.

    `ids` are broadcastable to the value's shape.
    """

    node: str
    input: int
    ids: Ids


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Partition:
    """Channels that an operator cuts into `parts` equally long runs, which must stay so."""

    ids: Ids
    parts: int

    @property
    def tied(self) -> bool:
        """Whether all runs hold the same ids, so that they cannot become unequal."""
        runs = self.ids.reshape(self.parts, -1)
        return bool((runs == runs[0]).all())


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Chain:
    """How a value follows from another, its root, by moves through values that are no rectangles.

    `places`, an array as of ids, numbers along the axes of the value that hold channels which of
    the root's channels stand there; those count in memory order along the root's axes `held`.
    Along its other axes the value is what the root is along its others, in their order: `runs` of
    them stay beside one another in both, of so many elements. `front` of these stand before the
    root's channels (its last axis of them), and `order` are the value's axes so taken together:
    the number of a run, or -1 for its next axis of channels. `before` and `after` are the shapes of
    root and value. A size that may be any is None; `first_alike` tells that the first axis of both
    is the same, and the first run.
    """

    root: str
    held: tuple[int, ...]
    places: Ids
    runs: tuple[int | None, ...]
    front: int
    order: tuple[int, ...]
    before: tuple[int | None, ...]
    after: tuple[int | None, ...]
    first_alike: bool

    @property
    def straight(self) -> bool:
        """Whether nothing but the order of channels along their one axis differs."""
        channels = varying(self.places)
        return (
            self.held == channels
            and len(channels) == 1
            and len(self.before) == len(self.after)
            and all(
                a == b
                for axis, (a, b) in enumerate(zip(self.before, self.after, strict=True))
                if axis not in channels
            )
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Labels:
    """Canonical ids of a graph's values, and everything that is cut with them.

    `values` are broadcastable to the shapes of the values (`ids.Ids`); those of arrays that are
    `computed` from parameters stand by axis; `subsets` are channels that
    a value holds apart from others of the same origin, and must not lose altogether; `frozen` gives
    the reason for each id that must stay. Ids run from 0 (`NONE`) to `count` - 1, and the canonical
    id of a set is its smallest.

    What is left of a value is a rectangle: its ids differ along one axis, or else all its lines
    along the axis that `lines` gives keep equally many. Values `within` chains of moves need be
    none: what is moved on from there follows from a value that is one, by `chains`.
    """

    facts: Facts
    values: Mapping[str, Ids]
    contractions: tuple[Contraction, ...]
    vectors: tuple[Vector, ...]
    computed: Mapping[str, Mapping[int, Ids]]
    sums: tuple[Sum, ...]
    partitions: tuple[Partition, ...]
    subsets: tuple[Ids, ...]
    lines: Mapping[str, int]
    chains: Mapping[str, Chain]
    within: frozenset[str]
    frozen: Mapping[int, str]
    count: int


def tie(labels: Labels, partitions: Sequence[Partition]) -> Labels:
    """Make the i-th channels of all runs of each partition one channel."""
    unions = []
    for partition in partitions:
        runs = partition.ids.reshape(partition.parts, -1)
        unions += [(runs[0], run) for run in runs[1:]]
    return renamed(labels, connect(labels.count, unions))


def renamed(labels: Labels, canonical: Ids) -> Labels:
    """The same labels with a canonical id in place of each id."""
    frozen: dict[int, str] = {}
    for i, reason in labels.frozen.items():
        frozen.setdefault(int(canonical[i]), reason)
    return replace(
        labels,
        values={name: canonical[ids] for name, ids in labels.values.items()},
        contractions=tuple(
            replace(found, filters=canonical[found.filters], read=canonical[found.read])
            for found in labels.contractions
        ),
        vectors=tuple(
            replace(found, axes={axis: canonical[ids] for axis, ids in found.axes.items()})
            for found in labels.vectors
        ),
        computed={
            name: {axis: canonical[ids] for axis, ids in axes.items()}
            for name, axes in labels.computed.items()
        },
        sums=tuple(replace(found, ids=canonical[found.ids]) for found in labels.sums),
        partitions=tuple(replace(found, ids=canonical[found.ids]) for found in labels.partitions),
        subsets=tuple(canonical[ids] for ids in labels.subsets),
        frozen=frozen,
    )
