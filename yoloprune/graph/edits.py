"""What surgery changes in a graph: which entries of arrays stay, and what numbers become.

Edits name what a node reads, not the array that it reads: an array that several nodes read is cut
for each as that one needs it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from yoloprune.graph.graph import Attribute, Graph, Held, Node, ValueType

Reading: TypeAlias = tuple[str, int]
"""A node's name, and the position of one of its inputs."""

Positions: TypeAlias = NDArray[np.int64]
"""Entries along an axis that stay, ascending."""

AT_ONCE = 1 << 24
"""Elements of an array that are cut at once."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ArrayCut:
    """What stays of an array.

    The array is taken apart into equal blocks along its first axis, as many as there are here; of
    each the entries stay that are listed by axis, and the blocks are joined again.
    """

    blocks: tuple[Mapping[int, Positions], ...]

    def shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of what stays of an array of this shape."""
        sizes = list(shape)
        for axis, positions in self.blocks[0].items():
            sizes[axis] = len(positions)
        sizes[0] = self.length(shape[0])
        return tuple(sizes)

    def length(self, length: int) -> int:
        """What stays of so many entries along the first axis."""
        each = length // len(self.blocks)
        return sum(len(block[0]) if 0 in block else each for block in self.blocks)

    def tensor(self, array: Tensor) -> Tensor:
        """What stays of a tensor."""
        parts = []
        for part, block in zip(array.chunk(len(self.blocks)), self.blocks, strict=True):
            kept = {axis: torch.from_numpy(own).to(array.device) for axis, own in block.items()}
            parts.append(_selected(part, kept))
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def numbers(self, array: NDArray[Any]) -> NDArray[Any]:
        """What stays of an array of NumPy."""
        parts = []
        for part, block in zip(np.split(array, len(self.blocks)), self.blocks, strict=True):
            for axis, positions in block.items():
                part = part.take(positions, axis=axis)
            parts.append(part)
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def same_as(self, other: "ArrayCut") -> bool:
        """Whether the same entries stay."""
        return len(self.blocks) == len(other.blocks) and all(
            a.keys() == b.keys() and all(np.array_equal(a[axis], b[axis]) for axis in a)
            for a, b in zip(self.blocks, other.blocks, strict=True)
        )


def _selected(array: Tensor, kept: Mapping[int, Tensor]) -> Tensor:
    """The entries that are kept along each axis."""
    if array.numel() > AT_ONCE and len(kept) > 1 and 0 in kept:
        # A few rows after the others: nothing as large stands beside what is kept.
        others = {axis: positions for axis, positions in kept.items() if axis > 0}
        sizes = [len(kept[axis]) if axis in kept else n for axis, n in enumerate(array.shape)]
        result = array.new_empty(sizes)
        each = max(1, AT_ONCE * len(array) // array.numel())
        runs = (torch.split(own, each) for own in (result, kept[0]))
        for run, rows in zip(*runs, strict=True):
            run.copy_(_selected(array.index_select(0, rows), others))
        return result
    for axis, positions in kept.items():
        array = array.index_select(axis, positions)
    return array


@dataclass(frozen=True, slots=True, kw_only=True)
class Entries:
    """What stays of an output: these entries along an axis, ascending."""

    axis: int
    kept: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What a detector is still asked for: numbers of its classes, ascending, and their outputs.

    An output that is not named stays whole; of which nothing is kept, that is no output any more.
    """

    classes: tuple[int, ...]
    outputs: dict[str, Entries]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Edits:
    """Everything that surgery changes in a graph.

    `arrays`: what stays of parameters and constants where nodes read them; `constants`: new numbers
    (shapes, bounds, indices) where nodes read constants, or what was computed; `attributes`: new
    attributes, by node and name; `nodes`: what stands in a node's place, by its name, itself
    perhaps among them; `added`: constants that those read; `held`: what must stay, by its numbers
    among what is left (None: as it was); `task`: what the network is still asked for, where that is
    less than before.
    """

    arrays: Mapping[Reading, ArrayCut]
    constants: Mapping[Reading, NDArray[Any]]
    attributes: Mapping[str, Mapping[str, Attribute]]
    nodes: Mapping[str, tuple[Node, ...]] = field(default_factory=dict)
    added: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    held: tuple[Held, ...] | None = None
    task: Task | None = None


def as_stored(graph: Graph) -> Graph:
    """The graph with the real attributes that a file holds: those are float32."""
    nodes = (
        replace(
            node,
            attributes={
                name: float(np.float32(value)) if isinstance(value, float) else value
                for name, value in node.attributes.items()
            },
        )
        for node in graph.nodes
    )
    return replace(graph, nodes=tuple(nodes))


def edit(
    graph: Graph, parameters: Mapping[str, Tensor], edits: Edits
) -> tuple[Graph, dict[str, Tensor]]:
    """The graph and its parameters with these edits; what they do not name stays as it is.

    An array keeps its name where all who read it read the same; otherwise those that read something
    else read it under a name of its own. Nothing is changed in place; tensors that lose nothing are
    shared.
    """
    writer = _Writer(graph, parameters, edits)
    replaced = (own for node in graph.nodes for own in edits.nodes.get(node.name, (node,)))
    nodes = tuple(writer.node(node, edits) for node in replaced)
    kept, read = _still_read(graph, nodes)
    slim = replace(
        graph,
        nodes=kept,
        parameters={name: found for name, found in writer.shapes.items() if name in read},
        constants={name: array for name, array in writer.constants.items() if name in read},
        outputs=_outputs(graph, edits.task),
        held=graph.held if edits.held is None else edits.held,
    )
    return slim, {name: tensor for name, tensor in writer.tensors.items() if name in read}


def _outputs(graph: Graph, task: Task | None) -> Mapping[str, ValueType]:
    """What a graph gives, in the sizes that a task leaves."""
    given = dict(graph.outputs)
    for name, left in ({} if task is None else task.outputs).items():
        shape = list(given[name].shape)
        if shape:  # An ONNX file need not say one.
            shape[left.axis] = len(left.kept)
        given[name] = replace(given[name], shape=tuple(shape))
    return given


def _still_read(graph: Graph, nodes: tuple[Node, ...]) -> tuple[tuple[Node, ...], set[str]]:
    """The nodes without those that only such read as are no longer there; and what may be read.

    What nobody read before stays.
    """
    before = {name for node in graph.nodes for name in node.inputs} | graph.outputs.keys()
    unread = {name for node in graph.nodes for name in node.outputs}
    unread = (unread | graph.parameters.keys() | graph.constants.keys()) - before
    read = unread | graph.outputs.keys()
    kept = []
    for node in reversed(nodes):
        if any(name in read for name in node.outputs):
            kept.append(node)
            read.update(node.inputs)
    return tuple(reversed(kept)), read


class _Writer:
    """The arrays of a graph that is being edited; each name is written once for each content."""

    def __init__(self, graph: Graph, parameters: Mapping[str, Tensor], edits: Edits) -> None:
        self.graph = graph
        self.shapes = dict(graph.parameters)
        self.constants = {**graph.constants, **edits.added}
        self.tensors = dict(parameters)
        self.original = parameters
        self.cuts: dict[str, list[tuple[str, ArrayCut | NDArray[Any] | None]]] = {}
        self.taken = {*graph.parameters, *graph.constants, *graph.inputs}
        self.taken |= {name for node in graph.nodes for name in node.outputs}
        for name in graph.outputs:
            if name in self.shapes or name in self.constants:
                self._array(name, None)
        # Who reads an array whole may do so by its name alone, in places that no edit reaches.
        changed = edits.arrays.keys() | edits.constants.keys()
        for node in graph.nodes:
            for position, name in enumerate(node.inputs):
                array = name in self.shapes or name in self.constants
                if array and (node.name, position) not in changed:
                    self._array(name, None)

    def node(self, node: Node, edits: Edits) -> Node:
        """A node with its edits; its arrays are written."""
        inputs = list(node.inputs)
        for position, name in enumerate(node.inputs):
            if name in self.shapes or name in self.constants:
                reading = (node.name, position)
                change = edits.arrays.get(reading)
                numbers = edits.constants.get(reading)
                inputs[position] = self._array(name, change if numbers is None else numbers)
            elif (node.name, position) in edits.constants:
                own = self._new_name(node.name, position)
                self.constants[own] = edits.constants[node.name, position]
                inputs[position] = own
        attributes = {**node.attributes, **edits.attributes.get(node.name, {})}
        if tuple(inputs) == node.inputs and attributes == dict(node.attributes):
            return node
        return replace(node, inputs=tuple(inputs), attributes=attributes)

    def _array(self, name: str, change: ArrayCut | NDArray[Any] | None) -> str:
        versions = self.cuts.setdefault(name, [])
        for own, known in versions:
            if _same(known, change):
                return own
        own = name if not versions else self._new_name(name, len(versions))
        versions.append((own, change))
        if isinstance(change, ArrayCut):
            if name in self.graph.parameters:
                before = self.graph.parameters[name]
                self.shapes[own] = replace(before, shape=change.shape(before.shape))
                self.tensors[own] = change.tensor(self.original[name])
            else:
                self.constants[own] = change.numbers(self.graph.constants[name])
        elif change is not None:
            self.constants[own] = change
        elif own != name:
            self._copy(name, own)
        return own

    def _copy(self, name: str, own: str) -> None:
        if name in self.graph.parameters:
            self.shapes[own] = self.graph.parameters[name]
            self.tensors[own] = self.original[name]
        else:
            self.constants[own] = self.graph.constants[name]

    def _new_name(self, name: str, number: int) -> str:
        own = f"{name}.{number}"
        while own in self.taken:
            own += "_"
        self.taken.add(own)
        return own


def _same(a: ArrayCut | NDArray[Any] | None, b: ArrayCut | NDArray[Any] | None) -> bool:
    if isinstance(a, ArrayCut):
        return isinstance(b, ArrayCut) and a.same_as(b)
    if a is None or b is None or isinstance(b, ArrayCut):
        return a is b
    return np.array_equal(a, b)
