"""What is known of a graph's values before it runs: their shapes, and the numbers of some."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from yoloprune.errors import GraphError, UntoldShapeError
from yoloprune.graph.graph import Graph, Node
from yoloprune.graph.operators.operator import Family, Operator, Shape, no_macs, refused
from yoloprune.graph.operators.table import OPERATORS, operator_of
from yoloprune.graph.operators.tensors import array_of, tensor_of

LARGEST_KNOWN = 1 << 20
"""Elements of the largest array that is worked out beforehand; larger ones are data."""

MOST_KNOWN = 1 << 24
"""Elements of all that is worked out beforehand; what comes after is data."""

LARGEST_ALONE = 1 << 26
"""Elements of the largest array that a network may compute from arrays alone."""

LARGEST_VALUE, MOST_AXES = 1 << 31, 32
"""Elements and axes of the largest value that a network may compute."""

ONE_IMAGE: Mapping[str, int] = {"batch": 1}

_SHAPE_READERS = ("Shape", "Size")
"""Operators that look at no numbers of their input."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What is known of the values of a graph, by name.

    `shapes`: of all that its nodes read or give. `known`: the arrays of those that depend on
    constants and on shapes alone. `static`: which of the known depend on the shape of something
    that is not a constant, so that they may change where channels are removed.
    """

    shapes: Mapping[str, Shape]
    known: Mapping[str, NDArray[Any]]
    static: frozenset[str]


def facts(
    graph: Graph,
    sizes: Mapping[str, int] | None = None,
    *,
    observed: Mapping[str, Shape] | None = None,
) -> Facts:
    """The facts of a graph whose inputs' named sizes are these, or else those that it names itself.

    `observed` gives the shapes that a run had, for what no rule tells; by default they are the
    graph's own. Raises `GraphError`, by node and operator, where neither does, or where a node does
    not fit what it reads.
    """
    if sizes is None and observed is None:
        return _own_facts(graph)
    sizes = {**ONE_IMAGE, **graph.sizes} if sizes is None else sizes
    return _facts(graph, sizes, graph.observed if observed is None else observed)


@lru_cache(maxsize=4)
def _own_facts(graph: Graph) -> Facts:
    """Of the last graphs they are remembered: a graph never changes."""
    return _facts(graph, {**ONE_IMAGE, **graph.sizes}, graph.observed)


def _facts(graph: Graph, sizes: Mapping[str, int], observed: Mapping[str, Shape]) -> Facts:
    shapes: dict[str, Shape] = {
        name: tuple(_size(name, size, sizes) for size in value.shape)
        for name, value in graph.inputs.items()
    }
    for name, shape in shapes.items():
        _check_size(f"the input {name}", shape)
    shapes |= {name: parameter.shape for name, parameter in graph.parameters.items()}
    shapes |= {name: array.shape for name, array in graph.constants.items()}
    known = dict(graph.constants)
    static: set[str] = set()
    data = set(graph.inputs)
    largest = max([LARGEST_ALONE, *(math.prod(shape) for shape in shapes.values())])
    left = MOST_KNOWN
    for node in graph.nodes:
        arrays = [known.get(name) for name in node.inputs]
        before = [shapes.get(name) for name in node.inputs]
        found = shapes_of(node, before, arrays, graph.opset, observed)
        shapes |= {name: shape for name, shape in zip(node.outputs, found, strict=True) if name}
        if not data.isdisjoint(node.inputs):
            data.update(node.outputs)
        elif (size := max(map(elements, found), default=0)) > largest:
            raise refused(node, f"computes {size} numbers from arrays, more than any network needs")
        looks = node.operator in _SHAPE_READERS
        read: Sequence[Tensor | NDArray[Any] | None] = arrays
        if looks:
            read = [torch.empty(shapes[node.inputs[0]], device="meta")]
        elif any(name and name not in known for name in node.inputs):
            continue
        values = worked_out(node, found, read, graph.opset, min(left, LARGEST_KNOWN))
        left -= sum(array.size for array in values.values())
        known |= values
        if any(name in static for name in node.inputs) or (looks and node.inputs[0] not in known):
            static |= values.keys()
    return Facts(shapes=shapes, known=known, static=frozenset(static))


def _size(name: str, size: int | str, sizes: Mapping[str, int]) -> int:
    if isinstance(size, int):
        return size
    if size not in sizes:
        raise GraphError(
            f"the input {name} has a size named {size!r}, for which no number is given"
        )
    return sizes[size]


def elements(shape: Shape) -> int:
    """How many a value of this shape has, an axis of none counted as one: what making it takes."""
    return math.prod(max(1, size) for size in shape)


def is_computed_beforehand(row: Operator) -> bool:
    """Whether an operator needs memory for what it reads and gives, and no more."""
    return row.macs is no_macs and row.family not in (Family.NORMALIZER, Family.SPATIAL)


def _check_size(what: str, shape: Shape) -> None:
    if len(shape) <= MOST_AXES and min(shape, default=1) > 0 and math.prod(shape) <= LARGEST_VALUE:
        return  # As almost all are.
    if min(shape, default=0) < 0:
        raise GraphError(f"{what} has the shape {shape}, which nothing can have")
    if len(shape) > MOST_AXES or elements(shape) > LARGEST_VALUE:
        raise GraphError(
            f"{what} has the shape {shape}, more than any network needs: the file is damaged"
        )


def shapes_of(
    node: Node,
    shapes: Sequence[Shape | None],
    known: Sequence[NDArray[Any] | None],
    opset: int,
    observed: Mapping[str, Shape] = MappingProxyType({}),
) -> tuple[Shape, ...]:
    """The shapes of what a node gives, by its operator's rule or else as they were observed.

    `shapes` and `known` are of what it reads, in order. Raises `GraphError` where neither tells
    them, where the node does not fit what it reads, and for what no network needs.
    """
    try:
        found = operator_of(node).shape(node, shapes, known, opset)
    except UntoldShapeError:
        if any(name and name not in observed for name in node.outputs):
            raise
        found = tuple(observed[name] if name else () for name in node.outputs)
    except (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError) as error:
        # Rules count on what ONNX demands; a damaged file has anything.
        raise GraphError(
            f"node {node.name} ({node.operator}) does not fit what it reads: {error}"
        ) from error
    if len(found) != len(node.outputs):
        raise refused(node, f"gives {len(found)} values, of which {len(node.outputs)} are named")
    for shape in found:
        _check_size(f"what node {node.name} ({node.operator}) gives", shape)
    return found


def worked_out(
    node: Node,
    shapes: Sequence[Shape],
    read: Sequence[Tensor | NDArray[Any] | None],
    opset: int,
    most: int,
) -> dict[str, NDArray[Any]]:
    """The arrays, of these shapes, that a node gives, by name.

    None where they have more than `most` elements together, or where torch cannot make them.
    """
    row = OPERATORS.get(node.operator)
    if row is None or not is_computed_beforehand(row) or sum(map(elements, shapes)) > most:
        return {}
    tensors = [tensor_of(own) if isinstance(own, np.ndarray) else own for own in read]
    try:
        found = row.compute(node, tensors, opset)
    except (ArithmeticError, GraphError, LookupError, RuntimeError, TypeError, ValueError):
        # Of a kind or dtype that is not computed: nothing is known of it but its shape.
        return {}
    arrays = ((name, array_of(tensor)) for name, tensor in zip(node.outputs, found, strict=True))
    return {name: array for name, array in arrays if name and array is not None}
