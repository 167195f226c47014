"""Which values must be rectangles of channels, and how those follow that moves give.

What computes reads rectangles: a value that has lost channels is an array again only if its ids
differ along one axis, or if all its lines along one keep equally many, as the heads of attention
may. A value between two moves need not be one: where a shuffle or packed heads leave none, surgery
takes what comes out at the end of the moves straight from what went in.
"""

from collections import defaultdict
from collections.abc import Iterator
from functools import cached_property
from itertools import zip_longest

import numpy as np

from yoloprune.errors import GraphError
from yoloprune.graph.graph import Node
from yoloprune.graph.operators.operator import Family, integer
from yoloprune.graph.operators.table import OPERATORS
from yoloprune.graph.shapes import ONE_IMAGE, Facts, facts
from yoloprune.pruning.labels.ids import (
    Ids,
    aligned,
    by_lines,
    lean,
    numbered,
    varying,
)
from yoloprune.pruning.labels.labels import Chain, Partition
from yoloprune.pruning.labels.layout import chained
from yoloprune.pruning.labels.moves import is_equal, move, one_value, whole_numbers
from yoloprune.pruning.labels.walk import Walk, title

LINKS = frozenset(
    {
        "Flatten", "Gather", "Identity", "Reshape", "Slice", "Split", "Squeeze", "Transpose",
        "Unsqueeze",
    }
)  # fmt: skip
"""Moves of which a chain may consist: each element that they give is one of those they read.

Where several values meet (`Concat`), and where zeros or copies come in, there is no root.
"""


class Chains:
    """The rectangles of a walk's values; `settle` until it finds nothing more to make one."""

    def __init__(self, walk: Walk) -> None:
        self.walk = walk
        self.makers: dict[str, Node] = {}
        self.readers: dict[str, list[tuple[Node, int]]] = defaultdict(list)
        for node in walk.graph.nodes:
            self.makers |= {name: node for name in node.outputs if name}
            for position, name in enumerate(node.inputs):
                self.readers[name].append((node, position))
        self.spread: dict[str, Ids] = {}
        self.within: frozenset[str] = frozenset()
        self.asked: dict[str, int] = {}
        self.lines: dict[str, int] = {}
        self.chains: dict[str, Chain] = {}

    def settle(self, canonical: Ids) -> list[tuple[Ids, Ids]]:
        """What must be made one so that every value is a rectangle that has to be."""
        walk = self.walk
        own = ((n, canonical[ids]) for n, ids in walk.values.items() if len(varying(ids)) > 1)
        self.spread = {n: ids for n, ids in ((n, lean(i)) for n, i in own) if len(varying(ids)) > 1}
        self.within = frozenset(filter(self._may_be_none, self.spread))
        self.asked = self._lines()
        self.lines = self._equal_lines()
        self.chains = {}
        free = self.within | self.lines.keys()
        unions = [pair for name in self.spread if name not in free for pair in self._tied(name)]
        return unions or self._follow(canonical)

    def partitions(self) -> list[Partition]:
        """What keeps lines equal that must be."""
        found = {}
        for name, axis in self.lines.items():
            lines = by_lines(self.spread[name], axis)
            found[lines.tobytes(), len(lines)] = Partition(ids=lines.reshape(-1), parts=len(lines))
        return list(found.values())

    def _is_link(self, node: Node) -> bool:
        values = self.walk.values
        return (
            node.operator in LINKS
            and node.inputs[0] in values
            and not any(name in values for name in node.inputs[1:])
        )

    def _may_be_none(self, name: str) -> bool:
        """Whether nothing but moves gives and reads a value."""
        made, readers = self.makers.get(name), self.readers[name]
        return (
            made is not None
            and bool(readers)
            and name not in self.walk.graph.outputs
            and all(self._is_link(node) for node in (made, *(node for node, _ in readers)))
        )

    def _lines(self) -> dict[str, int]:
        """Values that products read and give, or that follow from those in place or by moves.

        With the axis along which all lines keep equally many: that over which products sum, or
        that they leave as it is. The heads of attention lie along another.
        """
        lines = {n: axis for n, axis in self.walk.lines.items() if n in self.spread}
        if lines:
            nodes = self.walk.graph.nodes
            found = {own.name: (*self._alike(own), *self._axes_moved(own)) for own in nodes}
            for node in (*reversed(nodes), *nodes):
                for axes in found[node.name]:
                    if any(lines.get(name) == axis for name, axis in axes.items()):
                        lines = axes | lines
        return lines

    def _equal_lines(self) -> dict[str, int]:
        """Those of the values in lines whose lines need not lose the same channels."""
        lines = self.asked
        alike = {node.name: self._alike(node) for node in self.walk.graph.nodes if lines}
        split = {
            name
            for found in alike.values()
            for axes in found
            if len({lines.get(name) == axis for name, axis in axes.items()}) > 1
            for name in axes
        }
        return {
            name: axis
            for name, axis in lines.items()
            if name not in self.within
            and name not in split
            and name not in self.walk.graph.outputs
            and all(
                self._is_link(node) or self._multiplies(node, name) or name in alike[node.name][0]
                for node in self._beside(name)
            )
        }

    def _multiplies(self, node: Node, name: str) -> bool:
        """Whether a node is a product that takes or gives a value in lines."""
        return node.operator == "MatMul" and name in self.walk.lines

    def _beside(self, name: str) -> Iterator[Node]:
        """What gives a value, and what reads it."""
        if name in self.makers:
            yield self.makers[name]
        yield from (node for node, _ in self.readers[name])

    def _alike(self, node: Node) -> list[dict[str, int]]:
        """Axes of values of a node that hold the same channels at the same places, by name."""
        row = OPERATORS.get(node.operator)
        if (
            row is None
            or row.family is not Family.ELEMENTWISE
            or node.outputs[0] not in self.spread
        ):
            return [{}]
        given = self.spread[node.outputs[0]]
        found = {node.outputs[0]: 0}
        for name in node.inputs:
            if name in self.spread:
                found[name] = given.ndim - self.spread[name].ndim
                if not np.array_equal(aligned(self.spread[name], given.ndim), given):
                    return [{}]
            elif name in self.walk.values and self.walk.values[name].any():
                return [{}]
        if any(own.node == node.name for own in self.walk.vectors):
            return [{}]  # Of an array each line would lose something else.
        return [{name: axis - n for name, n in found.items()} for axis in varying(given)]

    def _axes_moved(self, node: Node) -> list[dict[str, int]]:
        """The axis of what a move reads that becomes one of what it gives, of both, by name."""
        source = node.inputs[0]
        if source not in self.spread or not self._is_link(node):
            return []
        found = []
        for axis in varying(self.spread[source]):
            places = numbered(self.walk.facts.shapes[source], [axis])
            for name, ids in zip(
                filter(None, node.outputs),
                move(one_value(node, self.walk.facts, places)) or (),
                strict=False,
            ):
                if len(varying(ids)) == 1 and name in self.spread:
                    found.append({source: axis, name: varying(ids)[0]})
        return found

    def _tied(self, name: str) -> list[tuple[Ids, Ids]]:
        """Make channels that do not lie along one axis one: the longest, unless products ask."""
        ids = self.spread[name]
        longest = max(range(ids.ndim), key=lambda axis: ids.shape[axis])
        table = by_lines(ids, self.asked.get(name, longest))
        first, others = np.broadcast_arrays(table[:1], table[1:])
        return [(first.reshape(-1), others.reshape(-1))]

    def _follow(self, canonical: Ids) -> list[tuple[Ids, Ids]]:
        """Find the chains; where a value does not follow from its root, all on the way are tied."""
        unions: list[tuple[Ids, Ids]] = []
        for node in self.walk.graph.nodes:
            if not self._is_link(node):
                continue
            for name in filter(None, node.outputs):
                if name in self.within:
                    continue
                path = self._path(name)
                ids = lean(canonical[self.walk.values[path[0]]])
                plain = not any(own in self.spread for own in path)
                if not ids.any() or (plain and not _in_steps(node, self.walk.facts, ids)):
                    continue
                moves = [self.makers[own] for own in path[1:]]
                chain = chained(path, moves, varying(ids), self.walk.facts, self._sizes, self.lines)
                if chain is not None:
                    self.chains[name] = chain
                    continue
                tied = [pair for own in path if own in self.spread for pair in self._tied(own)]
                unions += tied
                if not tied:
                    self.walk.freeze(self.walk.values[path[0]], f"moved by {title(node)} in steps")
        return unions

    def _path(self, name: str) -> list[str]:
        """The values that moves lead through to this one, from one that must be a rectangle."""
        path = [self.makers[name].inputs[0], name]
        while path[0] in self.within:
            path.insert(0, self.makers[path[0]].inputs[0])
        return path

    @cached_property
    def _sizes(self) -> Facts:
        """The facts by which axes are told apart: sizes that may be any are twice what they are.

        Those that the network takes no other number for stay.
        """
        graph, found = self.walk.graph, self.walk.facts
        sizes = {**ONE_IMAGE, **graph.sizes}
        named = [n for value in graph.inputs.values() for n in value.shape if isinstance(n, str)]
        names = [name for name in dict.fromkeys(named) if name in sizes]
        # All at once, or else one after the other.
        for tried in (names, *([name] for name in names if len(names) > 1)):
            try:
                found = facts(graph, sizes | {name: 2 * sizes[name] for name in tried})
            except GraphError:
                continue
            sizes |= {name: 2 * sizes[name] for name in tried}
            if tried == names:
                break
        return found


def _in_steps(node: Node, known: Facts, ids: Ids) -> bool:
    """Whether no numbers tell what a move takes of what is left.

    That is a slice that leaves channels out between those that it takes, and a split that is told
    no sizes and whose last part is the smallest.
    """
    if node.operator == "Split":
        axis = integer(node, "axis", 0) % ids.ndim
        uneven = known.shapes[node.inputs[0]][axis] % len(node.outputs) > 0
        return is_equal(node) and uneven and ids.shape[axis] > 1
    if node.operator != "Slice":
        return False
    _, starts, _, axes, steps = (
        whole_numbers(node, known.known.get(name), attribute)
        for name, attribute in zip_longest(
            node.inputs, ("", "starts", "ends", "axes", "steps"), fillvalue=""
        )
    )
    pairs = zip(axes or range(len(starts or ())), steps or (), strict=False)
    return any(step != 1 and ids.shape[axis] > 1 for axis, step in pairs)
