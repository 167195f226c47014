"""The operator table: everything that labels, shapes, cost and execution know of an operator."""

from collections.abc import Mapping

from yoloprune.errors import GraphError
from yoloprune.graph.graph import Node
from yoloprune.graph.operators.contractions import CONTRACTIONS
from yoloprune.graph.operators.elementwise import ELEMENTWISE
from yoloprune.graph.operators.indexing import INDEXING
from yoloprune.graph.operators.moves import MOVES
from yoloprune.graph.operators.normalizers import NORMALIZERS
from yoloprune.graph.operators.numbers import NUMBERS
from yoloprune.graph.operators.operator import Operator
from yoloprune.graph.operators.others import OTHERS
from yoloprune.graph.operators.reductions import REDUCTIONS
from yoloprune.graph.operators.spatial import SPATIAL

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


def operator_of(node: Node) -> Operator:
    """The row of a node's operator; raises `GraphError` where there is none."""
    if node.operator not in OPERATORS:
        raise GraphError(f"node {node.name} is a {node.operator}, an operator that is not known")
    return OPERATORS[node.operator]
