"""Surgery: from a graph's channels and a plan to edits.

Kernels lose filters and columns, vectors entries; moves get the bounds, sizes and indices that take
from what is left what they took before, and nodes that count channels the new counts.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from yoloprune.errors import GraphError
from yoloprune.graph.edits import ArrayCut, Edits, Reading
from yoloprune.graph.graph import Attribute, Node
from yoloprune.graph.operators.operator import integer, integers
from yoloprune.graph.operators.table import operator_of
from yoloprune.pruning.gathers import gathered
from yoloprune.pruning.groups import DependencyGraph
from yoloprune.pruning.labels.asked import still_held
from yoloprune.pruning.labels.ids import (
    Ids,
    Mask,
    by_lines,
    compacted,
    cut_axis,
    lean,
    numbered,
    varying,
)
from yoloprune.pruning.labels.labels import Contraction
from yoloprune.pruning.labels.moves import move, one_value, whole_numbers
from yoloprune.pruning.plan import PruningPlan, check_plan


def cut(dependencies: DependencyGraph, plan: PruningPlan) -> Edits:
    """The edits that remove the channels that a plan does not keep.

    Raises `PlanError` when the plan was made for another network.
    """
    check_plan(dependencies, plan)
    return removal(dependencies, dependencies.kept(plan.keep))


def removal(dependencies: DependencyGraph, kept: Mask) -> Edits:
    """The edits that remove the channel ids that a mask leaves out."""
    return _Surgeon(dependencies, kept).edits()


class _Surgeon:
    def __init__(self, dependencies: DependencyGraph, kept: Mask) -> None:
        self.graph = dependencies.graph
        self.labels = dependencies.labels
        self.kept = kept
        self.arrays: dict[Reading, ArrayCut] = {}
        self.constants: dict[Reading, NDArray[Any]] = {}
        self.attributes: dict[str, dict[str, Attribute]] = {}
        self.nodes: dict[str, tuple[Node, ...]] = {}
        self.added: dict[str, NDArray[Any]] = {}
        self.told: dict[Reading, NDArray[Any]] = {}
        self.gone: set[str] = set()
        self.taken = {*self.graph.inputs, *self.graph.parameters, *self.graph.constants}
        self.taken |= {n for node in self.graph.nodes for n in (node.name, *node.outputs)}
        # Numbers that were computed from a size that may be any stay so.
        self.open = any(isinstance(n, str) for v in self.graph.inputs.values() for n in v.shape)

    def edits(self) -> Edits:
        for found in self.labels.contractions:
            self._kernel(found)
        for vector in self.labels.vectors:
            masks = {axis: self.kept[ids] for axis, ids in vector.axes.items()}
            self._cut((vector.node, vector.input), [masks])
        for node in self.graph.nodes:
            if any(
                name in self.labels.chains or name in self.labels.within for name in node.outputs
            ):
                self._move(node)
            elif any(map(self._smaller, (*node.inputs[:1], *node.outputs))):
                self._resize(node)
        return Edits(
            arrays=self.arrays,
            constants=self.constants,
            attributes=self.attributes,
            nodes=self.nodes,
            added=self.added,
            held=still_held(self.graph.held, self.labels.contractions, self.kept),
        )

    def _kernel(self, found: Contraction) -> None:
        filters, columns = self.kept[found.filters], self.kept[found.columns]
        array = found.name not in self.labels.computed
        if found.depthwise:
            rows = filters if found.filter_axis == 0 else self.kept[found.read]
            if array:
                self._cut((found.node, found.input), [{0: rows}])
            read = int(np.count_nonzero(self.kept[found.read]))
            if read != found.groups:
                self.attributes.setdefault(found.node, {})["group"] = read
            return
        if not array:
            return  # What it is computed from is cut.
        masks = [
            {found.filter_axis: rows, found.column_axis: columns}
            for rows, columns in zip(
                np.split(filters, found.groups), np.split(columns, found.groups), strict=True
            )
        ]
        self._cut((found.node, found.input), masks)

    def _cut(self, reading: Reading, masks: list[dict[int, Mask]]) -> None:
        """Note what stays of an array, a mask an axis for each of its blocks."""
        if all(mask.all() for block in masks for mask in block.values()):
            return
        self.arrays[reading] = ArrayCut(
            blocks=tuple(
                {axis: np.flatnonzero(mask) for axis, mask in block.items()} for block in masks
            )
        )

    def _resize(self, node: Node) -> None:
        if node.operator in RESIZED:
            RESIZED[node.operator](self, node)

    def _move(self, node: Node) -> None:
        """Let a node of a chain of moves read what is left, or gather in its place from the root.

        Nothing stands in its place where what it gives is no rectangle.
        """
        source = node.inputs[0]
        if source not in self.gone:
            if not any(map(self._smaller, (source, *node.outputs))):
                return
            self._resize(node)
            if self._moves_alike(node):
                return
            for told in (self.arrays, self.constants, self.told):
                for reading in [own for own in told if own[0] == node.name]:
                    del told[reading]
            self.attributes.pop(node.name, None)
        nodes: list[Node] = []
        for name in filter(None, node.outputs):
            if name in self.labels.within:
                self.gone.add(name)
                continue
            chain = self.labels.chains[name]
            left = self._left(chain.root, numbered(self._shape(chain.root), chain.held))
            made, constants = gathered(
                name, chain, left.reshape(-1), self._left(name, chain.places), self._new_name
            )
            nodes += made
            self.added |= constants
        self.nodes[node.name] = tuple(nodes)

    def _moves_alike(self, node: Node) -> bool:
        """Whether a node that was told new numbers moves what is left to where it belongs."""
        source, names = node.inputs[0], [name for name in node.outputs if name]
        ids = self.labels.values[source]
        places = numbered(self._shape(source), varying(ids))
        dense = one_value(node, self.labels.facts, places)
        if any(self._smaller(name) and self.cut_axis(name) is None for name in (source, *names)):
            return False
        own = replace(node, attributes={**node.attributes, **self.attributes.get(node.name, {})})
        sizes = [
            tuple(self.size(n, a) for a in range(len(self._shape(n)))) for n in (source, *names)
        ]
        slim = replace(
            dense,
            node=own,
            ids=(self._left(source, places), *dense.ids[1:]),
            before=(sizes[0], *dense.before[1:]),
            after=tuple(sizes[1:]),
            known={n: self.told.get((node.name, n), array) for n, array in dense.known.items()},
        )
        known = [slim.known.get(position) for position in range(len(node.inputs))]
        try:
            given = operator_of(node).shape(own, slim.before, known, self.graph.opset)
        except GraphError:
            return False
        moved, wanted = move(slim), move(dense)
        assert moved is not None and wanted is not None
        return given == slim.after and all(
            np.array_equal(lean(a), lean(self._left(name, b)))
            for name, a, b in zip(names, moved, wanted, strict=True)
        )

    def _left(self, name: str, array: Ids) -> Ids:
        """What is left of numbers that stand along the axes of a value that hold channels."""
        axis = self.cut_axis(name)
        return array if axis is None else compacted(array, self._mask(name), axis)

    def _shape(self, name: str) -> tuple[int, ...]:
        return self.labels.facts.shapes[name]

    def _new_name(self, name: str) -> str:
        while name in self.taken:
            name += "_"
        self.taken.add(name)
        return name

    def _smaller(self, name: str) -> bool:
        if name in self.labels.computed:
            return not all(self.kept[ids].all() for ids in self.labels.computed[name].values())
        return name in self.labels.values and not self._mask(name).all()

    def _mask(self, name: str) -> Mask:
        return self.kept[self.labels.values[name]]

    def cut_axis(self, name: str) -> int | None:
        """The axis along which entries of a value are removed; None where none are."""
        return cut_axis(self._mask(name), self.labels.lines.get(name))

    def axis_mask(self, name: str, axis: int) -> Mask | None:
        """What stays of a value along an axis (of its first line there); None where all does."""
        if axis in (axes := self.labels.computed.get(name, {})):
            mask = self.kept[axes[axis]]
            return None if mask.all() else mask
        if name not in self.labels.values or axis != self.cut_axis(name):
            return None
        (line, *_) = by_lines(self._mask(name), axis)
        return np.broadcast_to(line, self._shape(name)[axis])

    def size(self, name: str, axis: int) -> int:
        """What is left of a value's size along an axis."""
        mask = self.axis_mask(name, axis)
        return self.labels.facts.shapes[name][axis] if mask is None else int(mask.sum())

    def known(self, node: Node, position: int) -> NDArray[Any] | None:
        """The numbers that a node reads there, if it reads them and they are known."""
        if position >= len(node.inputs) or not node.inputs[position]:
            return None
        return self.labels.facts.known.get(node.inputs[position])

    def set(self, node: Node, position: int, attribute: str, values: Any) -> None:
        """Give a node new whole numbers, in the input or, in old opsets, the attribute."""
        before = self.known(node, position)
        if before is None:
            self.attributes.setdefault(node.name, {})[attribute] = tuple(map(int, values))
        elif not np.array_equal(before.reshape(-1), values):
            array = np.asarray(values, dtype=before.dtype).reshape(before.shape)
            array.setflags(write=False)
            self.told[node.name, position] = array
            if self.open and node.inputs[position] in self.labels.facts.static:
                self._correct(node, position, before, array)
            else:
                self.constants[node.name, position] = array

    def _correct(
        self, node: Node, position: int, before: NDArray[Any], after: NDArray[Any]
    ) -> None:
        """Let a node read in what ratio computed numbers are other than before.

        Numbers of a fixed size become what they are to be; those that follow from the size of an
        image too, a flattened map's, say, become as much less.
        """
        name = f"{node.name}.{position}"
        same = before == after
        self.added[f"{name}.after"] = np.where(same, 1, after).astype(before.dtype)
        self.added[f"{name}.before"] = np.where(same, 1, before).astype(before.dtype)
        *others, own = self.nodes.get(node.name, (node,))
        inputs = list(own.inputs)
        times, over = f"{name}.times", f"{name}.over"
        others += [
            _node("Mul", times, inputs[position], f"{name}.after"),
            _node("Div", over, times, f"{name}.before"),
        ]
        inputs[position] = over
        self.nodes[node.name] = (*others, replace(own, inputs=tuple(inputs)))

    def restore(self, node: Node) -> None:
        """Let a node that tells a shape tell the dense network's, from which numbers follow."""
        name = node.inputs[0]
        rank = len(self.labels.facts.shapes[name])
        dense = self.labels.facts.shapes[name]
        slim = tuple(self.size(name, axis) for axis in range(rank))
        own, output = replace(node, outputs=(f"{node.name}.slim",)), node.outputs[0]
        part = slice(integer(node, "start", 0), integer(node, "end", rank))
        before, after = (np.array(shape[part], np.int64) for shape in (slim, dense))
        if node.operator == "Size":
            before, after = (np.array(math.prod(shape), np.int64) for shape in (slim, dense))
        if np.array_equal(before, after):
            return
        same = before == after
        self.added[f"{output}.dense"] = np.where(same, 1, after)
        self.added[f"{output}.count"] = np.where(same, 1, before)
        times = f"{output}.times"
        self.nodes[node.name] = (
            own,
            _node("Mul", times, own.outputs[0], f"{output}.dense"),
            replace(_node("Div", output, times, f"{output}.count"), name=f"{output}.over"),
        )


def _node(operator: str, name: str, *inputs: str) -> Node:
    return Node(name=name, operator=operator, inputs=inputs, outputs=(name,))


def _shape(surgeon: _Surgeon, node: Node) -> None:
    """`Reshape` and `Expand`: sizes that are written out."""
    target = surgeon.known(node, 1)
    if target is None:
        return
    output = node.outputs[0]
    dense = surgeon.labels.facts.shapes[output]
    sizes = [int(size) for size in target]
    offset = len(dense) - len(sizes)
    for number, size in enumerate(sizes):
        slim = surgeon.size(output, number + offset)
        if size > 0 and slim != dense[number + offset] and size != 1:
            sizes[number] = slim
    surgeon.set(node, 1, "shape", sizes)


def _slice(surgeon: _Surgeon, node: Node) -> None:
    name = node.inputs[0]
    shape = surgeon.labels.facts.shapes[name]
    starts = whole_numbers(node, surgeon.known(node, 1), "starts") or []
    ends = whole_numbers(node, surgeon.known(node, 2), "ends") or []
    axes = whole_numbers(node, surgeon.known(node, 3), "axes") or list(range(len(starts)))
    for number, axis in enumerate(axes):
        mask = surgeon.axis_mask(name, axis % len(shape))
        if mask is None:
            continue
        rank = np.concatenate([[0], np.cumsum(mask)])
        size = len(mask)
        for bounds in (starts, ends):
            bound = bounds[number]
            if -size <= bound < 0:
                bounds[number] = int(rank[bound + size] - rank[size]) or rank[size]
            elif 0 <= bound <= size:
                bounds[number] = int(rank[bound])
    surgeon.set(node, 1, "starts", starts)
    surgeon.set(node, 2, "ends", ends)


def _split(surgeon: _Surgeon, node: Node) -> None:
    if surgeon.known(node, 1) is None and "split" not in node.attributes:
        return  # Equal parts, which a plan keeps equal, or are gathered one by one.
    axis = integer(node, "axis", 0)
    axis %= len(surgeon.labels.facts.shapes[node.inputs[0]])
    surgeon.set(node, 1, "split", [surgeon.size(name, axis) for name in node.outputs])


def _gather(surgeon: _Surgeon, node: Node) -> None:
    indices = surgeon.known(node, 1)
    name = node.inputs[0]
    shape = surgeon.labels.facts.shapes[name]
    axis = integer(node, "axis", 0) % len(shape)
    mask = surgeon.axis_mask(name, axis)
    if indices is None or mask is None:
        return
    rank = np.cumsum(mask) - 1
    positions = indices.astype(np.int64) % shape[axis]
    if positions.ndim == 1:
        positions = positions[mask[positions]]
    new = rank[positions].astype(indices.dtype)
    new.setflags(write=False)
    surgeon.constants[node.name, 1] = surgeon.told[node.name, 1] = new


def _sizes(surgeon: _Surgeon, node: Node) -> None:
    """`Resize` that is told sizes repeats the number of channels."""
    sizes = surgeon.known(node, 3)
    if sizes is None or not sizes.size:
        return
    shape = surgeon.labels.facts.shapes[node.outputs[0]]
    axes = [axis % len(shape) for axis in integers(node, "axes")] or range(len(shape))
    slim = [surgeon.size(node.outputs[0], axis) for axis in axes]
    dense = [shape[axis] for axis in axes]
    changed = [
        new if new != old else int(size) for new, old, size in zip(slim, dense, sizes, strict=True)
    ]
    surgeon.set(node, 3, "sizes", changed)


def _groups(surgeon: _Surgeon, node: Node) -> None:
    """`GroupNormalization` counts the groups that are left, each as large as before."""
    groups, size = integer(node, "num_groups", 1), surgeon.labels.facts.shapes[node.inputs[0]][1]
    left = surgeon.size(node.inputs[0], 1) * groups // size
    surgeon.attributes.setdefault(node.name, {})["num_groups"] = left


RESIZED: Mapping[str, Callable[[_Surgeon, Node], None]] = {
    "Expand": _shape,
    "Gather": _gather,
    "GroupNormalization": _groups,
    "Reshape": _shape,
    "Resize": _sizes,
    "Shape": _Surgeon.restore,
    "Size": _Surgeon.restore,
    "Slice": _slice,
    "Split": _split,
}
"""The operators that are told in numbers which channels or how many they read, or tell it."""
