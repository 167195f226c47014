"""Which arrays of a model are trained parameters, and which are fixed numbers."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from yoloprune.graph.graph import Graph, Node, Parameter
from yoloprune.graph.operators.table import OPERATORS
from yoloprune.graph.shapes import facts

WEIGHTS = {
    "BatchNormalization": (1, 2, 3, 4),
    "Conv": (1, 2),
    "ConvTranspose": (1, 2),
    "DequantizeLinear": (0, 1),
    "Gather": (0,),
    "Gemm": (0, 1, 2),
    "GroupNormalization": (1, 2),
    "InstanceNormalization": (1, 2),
    "LayerNormalization": (1, 2),
    "MatMul": (0, 1),
    "PRelu": (1,),
    "RMSNormalization": (1,),
}
"""Inputs that hold what was trained."""

UNFOLDED = ("DequantizeLinear", "QuantizeLinear")
"""Operators whose arrays are cut themselves, not what they make of them."""

SCALES = ("Add", "Div", "Mul", "Sub")
"""Operators that read biases and scales, and much else."""


def with_parameters(graph: Graph) -> Graph:
    """A graph of constants whose trained arrays are parameters.

    What operators must know beforehand (sizes, bounds, limits) is none, nor is what sizes are
    computed with.
    """
    known = facts(graph).known
    readings: dict[str, list[tuple[Node, int]]] = {name: [] for name in graph.constants}
    sizes: set[str] = set()
    for node in graph.nodes:
        counts = all(name in known for name in filter(None, node.outputs))
        counts &= node.operator not in UNFOLDED
        for position, name in enumerate(node.inputs):
            if name in readings:
                readings[name].append((node, position))
                sizes |= {name} if counts else set()
    trained = {
        name: array
        for name, array in graph.constants.items()
        if array.size and name not in sizes and readings[name]
        if all(_reads_weights(array, node, position) for node, position in readings[name])
    }
    constants = {name: a for name, a in graph.constants.items() if name not in trained}
    for array in constants.values():
        array.setflags(write=False)
    return replace(
        graph,
        parameters={
            name: Parameter(shape=array.shape, dtype=array.dtype.name)
            for name, array in trained.items()
        },
        constants=constants,
    )


def _reads_weights(array: NDArray[np.generic], node: Node, position: int) -> bool:
    # Floating dtypes that numpy knows from a package of its own are of kind V.
    real = array.dtype.kind in "fV"
    if node.operator not in OPERATORS:
        return real and array.ndim > 0
    if position in WEIGHTS.get(node.operator, ()):
        return real or (node.operator == "DequantizeLinear" and position == 0)
    # A number a channel; a table of places (anchors, grids) differs along several axes.
    return node.operator in SCALES and real and array.ndim > 0 and max(array.shape) == array.size
