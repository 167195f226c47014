"""Whole scales of a detector whose outputs hold the boxes of all of them, one after the other.

    head of scale 0 ─┐
    head of scale 1 ─┼─ Concat ── ... ── output (1, 4 + C, N)
    head of scale 2 ─┘

Without a scale the `Concat` has an input less, and what is read beside it, place by place (anchors,
strides), has so many entries less. What that leaves is proven to give the other scales' boxes as
before: where an output is put together in another way, the proof refuses it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import accumulate
from typing import Any

import numpy as np
from numpy.typing import NDArray

from yoloprune.errors import PlanError
from yoloprune.graph.edits import ArrayCut, Edits, Reading, Task
from yoloprune.graph.graph import Graph, Node
from yoloprune.graph.operators.operator import axis_of, integer
from yoloprune.graph.shapes import Facts, facts

_SIZES = {"Reshape": 1, "Expand": 1}
"""Operators that read the sizes of what they give, and at which input."""


def scale_sizes(graph: Graph, boxes: int) -> tuple[int, ...]:
    """How many of so many boxes each scale gives, in order; none where that does not show."""
    known = facts(graph)
    found = {
        tuple(known.shapes[name][axis] for name in node.inputs)
        for node, axis in _joins(graph, known, boxes)
    }
    return found.pop() if len(found) == 1 else ()


def without_scales(graph: Graph, task: Task) -> Edits | None:
    """The edits after which whole scales are gone; None where a task asks for something else.

    That is, unless the entries that it keeps of its outputs are those of some scales. Raises
    `PlanError` for a network whose input may have any size: so has what is read place by place.
    """
    known = facts(graph)
    left = next(iter(task.outputs.values()), None)
    if left is None or any(own.kept != left.kept for own in task.outputs.values()):
        return None
    counts = {known.shapes[name][own.axis] for name, own in task.outputs.items()}
    boxes = counts.pop()
    sizes = scale_sizes(graph, boxes)
    ends = list(accumulate(sizes))
    kept = set(left.kept)
    parts = [range(end - size, end) for size, end in zip(sizes, ends, strict=True)]
    stay = [number for number, part in enumerate(parts) if kept.issuperset(part)]
    if (
        counts
        or not 0 < len(stay) < len(parts)
        or len(kept) != sum(sizes[number] for number in stay)
    ):
        return None
    if not all(
        isinstance(size, int) for value in graph.inputs.values() for size in value.shape[1:]
    ):
        raise PlanError("scales cannot be removed: the size of what the network reads is not fixed")
    positions = np.array(left.kept, np.int64)
    nodes: dict[str, tuple[Node, ...]] = {}
    changed: set[str] = set()
    for node, _ in _joins(graph, known, boxes):
        inputs = tuple(node.inputs[number] for number in stay)
        nodes[node.name] = (replace(node, inputs=inputs),)
        changed.update(node.outputs)
    arrays: dict[Reading, ArrayCut] = {}
    # What was computed from the sizes of a scale that goes is written down.
    constants = _worked_out(graph, known)
    for node in graph.nodes:
        if node.name in nodes or not changed.intersection(node.inputs):
            continue
        changed.update(node.outputs)
        for position, name in enumerate(node.inputs):
            if name in graph.parameters:
                if cut := _axes(graph.parameters[name].shape, boxes):
                    arrays[node.name, position] = ArrayCut(blocks=(dict.fromkeys(cut, positions),))
            elif (array := known.known.get(name)) is not None:
                constants |= _fewer(node, position, array, boxes, positions)
    return Edits(arrays=arrays, constants=constants, attributes={}, nodes=nodes, task=task)


def _worked_out(graph: Graph, known: Facts) -> dict[Reading, NDArray[Any]]:
    """The numbers that nodes read which others compute from sizes, where no size can change."""
    if not all(isinstance(size, int) for value in graph.inputs.values() for size in value.shape):
        return {}
    return {
        (node.name, position): known.known[name]
        for node in graph.nodes
        if any(own not in known.known for own in node.outputs)
        for position, name in enumerate(node.inputs)
        if name in known.known and name not in graph.constants and name not in graph.parameters
    }


def _joins(graph: Graph, known: Facts, boxes: int) -> Iterator[tuple[Node, int]]:
    """What joins values, not numbers that are known, to so many boxes; and along which axis."""
    for node in graph.nodes:
        name = node.outputs[0]
        if node.operator == "Concat" and len(node.inputs) > 1 and name not in known.known:
            shape = known.shapes[name]
            axis = axis_of(node, integer(node, "axis", 0), len(shape))
            if shape[axis] == boxes:
                yield node, axis


def _axes(shape: tuple[int, ...], boxes: int) -> list[int]:
    return [axis for axis, size in enumerate(shape) if size == boxes]


def _fewer(
    node: Node, position: int, array: NDArray[Any], boxes: int, positions: NDArray[np.int64]
) -> Mapping[Reading, NDArray[Any]]:
    """What a node reads in an array's place, where that is about boxes."""
    if _SIZES.get(node.operator) == position:
        fewer = np.where(array == boxes, len(positions), array)
        return {} if np.array_equal(fewer, array) else {(node.name, position): fewer}
    found = array
    for axis in _axes(array.shape, boxes):
        found = found.take(positions, axis=axis)
    return {} if found is array else {(node.name, position): found}
