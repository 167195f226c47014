"""The static cost of a graph: parameters, multiply-accumulates, channels, bytes.

Multiply-accumulates are those of contractions, as darknet counts them (its BFLOPs are twice as many
/ 1e9): biases, norms and activations cost nothing.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

from yoloprune.graph.graph import Graph, Node, Parameter
from yoloprune.graph.operators.contractions import CONTRACTIONS
from yoloprune.graph.operators.operator import Shape
from yoloprune.graph.operators.table import OPERATORS

_STATISTICS = {"BatchNormalization": (3, 4)}
"""Inputs that training does not change by gradients."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeCost:
    """Cost of one node; what several nodes read is counted at the first.

    `channels` are the output channels of a contraction by trained numbers, 0 for other nodes;
    `params` are trainable, or codes of such, `weight_bytes` are those of all its parameters.
    """

    name: str
    operator: str
    shape: Shape
    channels: int
    params: int
    weight_bytes: int
    macs: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Cost of a graph, for inputs of the shapes by which it was counted.

    `params` are trainable: the means and variances of batch norms are not. `weight_bytes` are those
    of all parameters, without a file's header.
    """

    params: int
    macs: int
    channels: int
    weight_bytes: int
    per_node: tuple[NodeCost, ...]

    @property
    def flops(self) -> int:
        """Floating-point operations, two per multiply-accumulate (darknet's BFLOPs x 1e9)."""
        return 2 * self.macs


def cost(graph: Graph, shapes: Mapping[str, Shape]) -> Cost:
    """Count a graph's cost; `shapes` are those of all its values, of one image if it is to be."""
    untrained = statistics(graph)
    counted: set[str] = set()
    fixed = graph.parameters.keys() | graph.constants.keys() | {""}
    nodes = []
    for node in graph.nodes:
        new = [n for n in dict.fromkeys(node.inputs) if n in graph.parameters and n not in counted]
        counted.update(new)
        parameters = {name: graph.parameters[name] for name in new}
        # Whole numbers are indices, but for the codes that stand for a kernel's numbers.
        codes = {*node.inputs[:1]} if node.operator == "DequantizeLinear" else set()
        trained = [
            own
            for name, own in parameters.items()
            if name not in untrained and (_real(own) or name in codes)
        ]
        outputs = [shapes[name] for name in node.outputs if name]
        row = OPERATORS.get(node.operator)
        nodes.append(
            NodeCost(
                name=node.name,
                operator=node.operator,
                shape=outputs[0],
                channels=_channels(node, outputs[0], fixed),
                params=sum(math.prod(parameter.shape) for parameter in trained),
                weight_bytes=sum(map(byte_count, parameters.values())),
                macs=row.macs(node, [shapes.get(n) for n in node.inputs], outputs) if row else 0,
            )
        )
        if fixed.issuperset(node.inputs):
            fixed |= set(node.outputs)
    return Cost(
        params=sum(node.params for node in nodes),
        macs=sum(node.macs for node in nodes),
        channels=sum(node.channels for node in nodes),
        weight_bytes=sum(node.weight_bytes for node in nodes),
        per_node=tuple(nodes),
    )


def statistics(graph: Graph) -> set[str]:
    """Parameters that training does not change by gradients: running means and variances."""
    return {
        node.inputs[position]
        for node in graph.nodes
        for position in _STATISTICS.get(node.operator, ())
    }


def _channels(node: Node, shape: Shape, fixed: set[str]) -> int:
    """Output channels of a contraction by numbers that do not depend on the graph's inputs."""
    if node.operator not in CONTRACTIONS:
        return 0
    if not fixed.intersection(node.inputs[:2]) or fixed.issuperset(node.inputs[:2]):
        return 0
    return shape[1] if node.operator in ("Conv", "ConvTranspose") else shape[-1]


def _real(parameter: Parameter) -> bool:
    return "float" in parameter.dtype


def byte_count(parameter: Parameter) -> int:
    """Bytes that a parameter takes in a file."""
    # numpy knows not all of them.
    bits = re.search(r"\d+", parameter.dtype)
    return -(-math.prod(parameter.shape) * (int(bits[0]) if bits else 8) // 8)
