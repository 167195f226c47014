"""The walk over channel ids: what the rules of the families of operators write down."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from yoloprune.graph.edits import Reading
from yoloprune.graph.graph import Graph, Node
from yoloprune.graph.shapes import Facts
from yoloprune.pruning.labels.ids import NONE, Ids
from yoloprune.pruning.labels.labels import Contraction, Partition, Sum, Vector


@dataclass(kw_only=True, eq=False, slots=True)
class Walk:
    """What is known of a graph's channels so far; `values` has the ids of every data value."""

    graph: Graph
    facts: Facts
    values: dict[str, Ids] = field(default_factory=dict)
    contractions: list[Contraction] = field(default_factory=list)
    vectors: list[Vector] = field(default_factory=list)
    sums: list[Sum] = field(default_factory=list)
    partitions: list[Partition] = field(default_factory=list)
    subsets: list[Ids] = field(default_factory=list)
    lines: dict[str, int] = field(default_factory=dict)
    """Values that products read and give, and the axis of the lines that keep equally many."""
    wanted: dict[Reading, Mapping[int, Ids]] = field(default_factory=dict)
    """Readings of computed arrays, and the axes that hold channels."""
    computed: dict[str, Mapping[int, Ids]] = field(default_factory=dict)
    """Computed arrays, and the axes along which all who read them let entries go."""
    unions: list[tuple[Ids, Ids]] = field(default_factory=list)
    frozen: list[tuple[Ids, str]] = field(default_factory=list)
    count: int = NONE + 1

    def born(self, number: int) -> Ids:
        """So many new ids."""
        ids = np.arange(self.count, self.count + number, dtype=np.int64)
        self.count += number
        return ids

    def freeze(self, ids: Ids, reason: str) -> None:
        """Let these channels stay."""
        self.frozen.append((ids.reshape(-1), reason))

    def unite(self, a: Ids, b: Ids, node: Node) -> None:
        """Make channels one; one that meets what has no channels must stay."""
        a, b = (ids.reshape(-1) for ids in np.broadcast_arrays(a, b))
        real = (a != NONE) & (b != NONE)
        if real.all():
            self.unions.append((a, b))
            return
        self.unions.append((a[real], b[real]))
        self.freeze(np.maximum(a, b)[~real], f"meets what has no channels in {title(node)}")

    def flat(self, ids: Ids, axis: int, node: Node) -> Ids:
        """Ids that are constant along an axis; what differs along it becomes one."""
        if ids.shape[axis] == 1:
            return ids
        first = ids.take([0], axis=axis)
        self.unite(first, ids, node)
        return first

    def along(self, ids: Ids, axis: int, size: int, node: Node) -> Ids:
        """Ids in order along one axis; what differs along others becomes one."""
        first, *others = np.moveaxis(ids, axis, 0).shape
        table = np.moveaxis(ids, axis, 0).reshape(first, math.prod(others))
        if table.shape[1] > 1:
            self.unite(table[:, :1], table[:, 1:], node)
        own: Ids = table[:, 0]
        return own if len(own) == size else np.broadcast_to(own, size)

    def is_array(self, name: str) -> bool:
        """Whether a value is a parameter or a constant of the graph itself."""
        return name in self.graph.parameters or name in self.graph.constants

    def cut_with(self, node: Node, position: int, axes: Mapping[int, Ids]) -> None:
        """Note that an array loses entries with these channels, or what one is computed from."""
        axes = {axis: ids for axis, ids in axes.items() if ids.any()}
        if not axes:
            return
        name = node.inputs[position]
        if self.is_array(name):
            self.vectors.append(Vector(node=node.name, input=position, name=name, axes=axes))
        else:
            self.wanted[node.name, position] = axes


def title(node: Node) -> str:
    """How messages call a node."""
    return f"{node.name} ({node.operator})"
