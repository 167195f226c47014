"""Shape rules that many operators share."""

from collections.abc import Iterable

from yoloprune.graph.graph import Node
from yoloprune.graph.operators.operator import (
    Arrays,
    Shape,
    Shapes,
    given,
    refused,
)


def as_first(node: Node, shapes: Shapes, known: Arrays, opset: int) -> tuple[Shape, ...]:
    """Every output is of the first input's shape."""
    return (given(node, shapes, 0),) * len(node.outputs)


def broadcasting(node: Node, shapes: Shapes, known: Arrays, opset: int) -> tuple[Shape, ...]:
    """One output, of the shape to which all inputs are broadcast."""
    return (broadcast(node, (shape for shape in shapes if shape is not None)),)


def per_channel(node: Node, shapes: Shapes, known: Arrays, opset: int) -> tuple[Shape, ...]:
    """As the first input; whatever else is read or given has a number a channel."""
    shape = given(node, shapes, 0)
    vector = shape[1:2] or (1,)
    check_vectors(node, shapes[1:], vector[0])
    return (shape, *(vector for _ in node.outputs[1:]))


def check_vectors(node: Node, vectors: Shapes, size: int) -> None:
    """Refuse a node that does not read so many numbers in each of these inputs."""
    for shape in vectors:
        if shape is not None and shape != (size,):
            raise refused(node, f"reads {shape} where {size} numbers in a row are needed")


def broadcast(node: Node, shapes: Iterable[Shape]) -> Shape:
    """The common shape of several."""
    found: Shape | None = None
    for shape in shapes:
        if found is None or found == shape:
            found = shape
            continue
        rank = max(len(found), len(shape))
        ours = (1,) * (rank - len(found)) + found
        theirs = (1,) * (rank - len(shape)) + shape
        if any(a != b and a != 1 and b != 1 for a, b in zip(ours, theirs, strict=True)):
            raise refused(node, f"cannot broadcast {found} and {shape} to each other")
        found = tuple(b if a == 1 else a for a, b in zip(ours, theirs, strict=True))
    if found is None:
        raise refused(node, "reads nothing")
    return found
