"""What a row of the operator table holds, and how its rules read a node."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar, cast

from numpy.typing import NDArray

from yoloprune.errors import GraphError, UntoldShapeError
from yoloprune.graph.graph import Node

if TYPE_CHECKING:
    from torch import Tensor

Shape: TypeAlias = tuple[int, ...]
Tensors: TypeAlias = "Sequence[Tensor | None]"
"""What a node reads, in order; None where an input is left out."""
Shapes: TypeAlias = Sequence[Shape | None]
Arrays: TypeAlias = Sequence[NDArray[Any] | None]
"""The values of a node's inputs, where they are known beforehand."""

Compute: TypeAlias = "Callable[[Node, Tensors, int], tuple[Tensor, ...]]"
ShapeRule: TypeAlias = Callable[[Node, Shapes, Arrays, int], tuple[Shape, ...]]
MacsRule: TypeAlias = Callable[[Node, Shapes, Sequence[Shape]], int]

MOST_TOLD = 1 << 12
"""Whole numbers that a node is told at most: sizes, bounds, axes."""

_T = TypeVar("_T")


class Family(Enum):
    """How the labels of channels go through an operator."""

    MOVE = auto()
    """Takes elements elsewhere, unchanged."""
    ELEMENTWISE = auto()
    """Computes each element from those at its place, with broadcasting."""
    SPATIAL = auto()
    """Mixes within a channel, along the axes from the third on."""
    REDUCTION = auto()
    """Takes axes together to one."""
    NORMALIZER = auto()
    """Mixes along an axis and keeps the shape."""
    CONTRACTION = auto()
    """Sums products over an axis: makes new channels."""
    SHAPE = auto()
    """Gives numbers that depend on shapes or on nothing: no data."""
    OTHER = auto()
    """Computes in a way that channels cannot be followed through."""


def no_macs(node: Node, inputs: Shapes, outputs: Sequence[Shape]) -> int:
    """The multiply-accumulates of an operator that multiplies no matrices."""
    return 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Operator:
    """One operator of ONNX's own domain, as of opsets 11 to 23.

    `compute(node, inputs, opset)` gives the outputs as torch tensors in the inputs' dtype and on
    their device, with gradients; what the node is told by inputs (shapes, axes, bounds) is best
    kept on the CPU. `shape(node, shapes, known, opset)` gives the outputs' shapes from those of
    the inputs and the inputs that are known. `macs(node, inputs, outputs)` counts
    multiply-accumulates from shapes, as darknet does: biases and norms cost nothing. All of them
    raise `GraphError` where the node does not fit its inputs or is not understood.
    """

    family: Family
    compute: Compute
    shape: ShapeRule
    macs: MacsRule = no_macs


def at(values: Sequence[_T | None], position: int) -> _T | None:
    """What an optional input is, None where it is left out."""
    return values[position] if position < len(values) else None


def given(node: Node, values: Sequence[_T | None], position: int) -> _T:
    """What an input is that cannot be left out."""
    value = at(values, position)
    if value is None:
        raise refused(node, f"lacks its input {position}")
    return value


def known_integers(node: Node, known: Arrays, position: int) -> tuple[int, ...]:
    """What an input says that a shape depends on."""
    array = at(known, position)
    if array is None:
        if not present(node, position):
            raise refused(node, f"lacks its input {position}")
        raise untold(node, f"depends on the values of {node.inputs[position]}, which are")
    if array.ndim > 1 or array.size > MOST_TOLD:
        raise refused(node, f"is told numbers of the shape {array.shape}, not a short list of them")
    return tuple(int(number) for number in array.reshape(-1).tolist())


def present(node: Node, position: int) -> bool:
    """Whether an optional input is there."""
    return position < len(node.inputs) and bool(node.inputs[position])


def number(node: Node, name: str, default: float) -> float:
    """An attribute that is a real number."""
    return cast(float, node.attributes.get(name, default))


def integer(node: Node, name: str, default: int) -> int:
    """An attribute that is a whole number, or a flag."""
    return cast(int, node.attributes.get(name, default))


def integers(node: Node, name: str, default: Shape = ()) -> Shape:
    """An attribute that is a list of whole numbers."""
    return cast(Shape, node.attributes.get(name, default))


def text(node: Node, name: str, default: str) -> str:
    """An attribute that is a word."""
    return cast(str, node.attributes.get(name, default))


def axis_of(node: Node, axis: int, rank: int) -> int:
    """An axis counted from the front."""
    if not -rank <= axis < rank:
        raise refused(node, f"has axis {axis}, of {rank}")
    return axis % rank


def untold(node: Node, why: str = "is") -> UntoldShapeError:
    """The error of a node whose shape no rule can tell."""
    return UntoldShapeError(
        f"node {node.name} ({node.operator}) has a shape that {why} known only when it runs"
    )


def refused(node: Node, why: str) -> GraphError:
    """The error of a node that makes no sense or is not understood."""
    return GraphError(f"node {node.name} ({node.operator}) {why}")
