"""The operator table: everything that labels, shapes, cost and execution know of an operator."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from yoloprune.errors import UntoldShapeError
from yoloprune.graph.graph import Node
from yoloprune.graph.operators.contractions import CONTRACTIONS
from yoloprune.graph.operators.elementwise import ELEMENTWISE
from yoloprune.graph.operators.indexing import INDEXING
from yoloprune.graph.operators.moves import MOVES
from yoloprune.graph.operators.normalizers import NORMALIZERS
from yoloprune.graph.operators.numbers import NUMBERS
from yoloprune.graph.operators.operator import Operator, Tensors, refused
from yoloprune.graph.operators.others import OTHERS
from yoloprune.graph.operators.reductions import REDUCTIONS
from yoloprune.graph.operators.spatial import SPATIAL
from yoloprune.memory import is_out_of_memory

if TYPE_CHECKING:
    from torch import Tensor

OPERATORS: Mapping[str, Operator] = {
    **CONTRACTIONS,
    **ELEMENTWISE,
    **INDEXING,
    **MOVES,
    **NORMALIZERS,
    **NUMBERS,
    **OTHERS,
    **REDUCTIONS,
    **SPATIAL,
}
"""By ONNX's name."""


def computed(node: Node, inputs: Tensors, opset: int) -> "tuple[Tensor, ...]":
    """What a node gives for what it reads; raises `GraphError`, by node, where that is nothing."""
    try:
        return operator_of(node).compute(node, inputs, opset)
    except (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError) as error:
        if is_out_of_memory(error):
            raise
        # Operators count on what ONNX demands; a damaged file has anything.
        first, *_ = [*str(error).strip().splitlines(), type(error).__name__]
        raise refused(node, f"cannot be computed: {first}") from error


def operator_of(node: Node) -> Operator:
    """The row of a node's operator; raises `UntoldShapeError` where there is none."""
    if node.operator not in OPERATORS:
        raise UntoldShapeError(
            f"node {node.name} is a {node.operator}, an operator that is not known"
        )
    return OPERATORS[node.operator]
