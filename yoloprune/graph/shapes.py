"""What is known of a graph's values before it runs: their shapes, and the numbers of some."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from numpy.typing import NDArray

from yoloprune.errors import GraphError
from yoloprune.graph.graph import Graph, Node
from yoloprune.graph.operators.operator import Shape
from yoloprune.graph.operators.table import OPERATORS, operator_of
from yoloprune.graph.operators.tensors import array_of, tensor_of

LARGEST_KNOWN = 1 << 20
"""Elements of the largest array that is worked out beforehand; larger ones are data."""

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
    sizes = {**ONE_IMAGE, **graph.sizes} if sizes is None else sizes
    observed = graph.observed if observed is None else observed
    shapes: dict[str, Shape] = {
        name: tuple(_size(name, size, sizes) for size in value.shape)
        for name, value in graph.inputs.items()
    }
    shapes |= {name: parameter.shape for name, parameter in graph.parameters.items()}
    shapes |= {name: array.shape for name, array in graph.constants.items()}
    known = dict(graph.constants)
    static: set[str] = set()
    for node in graph.nodes:
        read = [known.get(name) for name in node.inputs]
        found = _shapes(
            node, [shapes.get(name) for name in node.inputs], read, graph.opset, observed
        )
        shapes |= {name: shape for name, shape in zip(node.outputs, found, strict=True) if name}
        looks = node.operator in _SHAPE_READERS
        if not looks and any(name and name not in known for name in node.inputs):
            continue
        values = _values(node, shapes, read, graph.opset)
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


def _shapes(
    node: Node,
    shapes: Sequence[Shape | None],
    known: Sequence[NDArray[Any] | None],
    opset: int,
    observed: Mapping[str, Shape],
) -> tuple[Shape, ...]:
    try:
        return operator_of(node).shape(node, shapes, known, opset)
    except GraphError:
        if any(name and name not in observed for name in node.outputs):
            raise
        return tuple(observed[name] if name else () for name in node.outputs)
    except (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError) as error:
        # Rules count on what ONNX demands; a damaged file has anything.
        raise GraphError(
            f"node {node.name} ({node.operator}) does not fit what it reads: {error}"
        ) from error


def _values(
    node: Node,
    shapes: Mapping[str, Shape],
    known: Sequence[NDArray[Any] | None],
    opset: int,
) -> dict[str, NDArray[Any]]:
    """The arrays that a node gives, or none where they are large or torch cannot make them."""
    row = OPERATORS.get(node.operator)
    if row is None or any(math.prod(shapes[name]) > LARGEST_KNOWN for name in node.outputs if name):
        return {}
    if node.operator in _SHAPE_READERS:
        tensors: list[torch.Tensor | None] = [torch.empty(shapes[node.inputs[0]], device="meta")]
    else:
        tensors = [None if array is None else tensor_of(array) for array in known]
    try:
        found = row.compute(node, tensors, opset)
    except (ArithmeticError, GraphError, LookupError, RuntimeError, TypeError, ValueError):
        # Of a kind or dtype that is not computed: nothing is known of it but its shape.
        return {}
    arrays = ((name, array_of(tensor)) for name, tensor in zip(node.outputs, found, strict=True))
    return {name: array for name, array in arrays if name and array is not None}
