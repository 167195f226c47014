"""Graphs that compute the same in fewer nodes: for running, never for pruning or for a file."""

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from yoloprune.execution.run import reads
from yoloprune.graph.graph import Graph, Node
from yoloprune.graph.operators.elementwise import BATCH_NORM_EPSILON
from yoloprune.graph.operators.operator import integer, number


def fused(graph: Graph) -> Graph:
    """The graph in the nodes that torch runs fastest.

    Where nobody else reads what is between, x sigmoid(x) and x tanh(softplus(x)) are the one node
    that torch has for each. What nodes are told by constants they have as attributes, as in older
    opsets: plain numbers are read in no time, and torch's compiler looks into no tensor.
    """
    return _gated(_with_attributes(graph))


def _with_attributes(graph: Graph) -> Graph:
    return replace(graph, nodes=tuple(_told(node, graph) for node in graph.nodes))


def _told(node: Node, graph: Graph) -> Node:
    """The node with constants that it is told by as attributes."""
    inputs, attributes = list(node.inputs), dict(node.attributes)
    for position, name in _TOLD.get(node.operator, {}).items():
        constant = graph.constants.get(inputs[position]) if position < len(inputs) else None
        # An empty list stands for one that is left out.
        if constant is not None and constant.size:
            inputs[position] = ""
            numbers = constant.tolist()
            attributes[name] = tuple(numbers) if constant.ndim else numbers
    return replace(node, inputs=tuple(inputs), attributes=attributes)


_TOLD: Mapping[str, Mapping[int, str]] = {
    "Clip": {1: "min", 2: "max"},
    "Dropout": {1: "ratio"},
    "Reshape": {1: "shape"},
    "Resize": {2: "scales"},
    "Slice": {1: "starts", 2: "ends", 3: "axes", 4: "steps"},
    "Split": {1: "split"},
    "Squeeze": {1: "axes"},
    "Unsqueeze": {1: "axes"},
    "Upsample": {1: "scales"},
}
"""Names of the attributes that stand for inputs, by position."""


def _gated(graph: Graph) -> Graph:
    makers = {node.outputs[0]: node for node in graph.nodes}
    alone = read_once(graph)
    changed: dict[str, Node] = {}
    gone: set[str] = set()
    for node in graph.nodes:
        if node.operator != "Mul":
            continue
        for x, gate in (node.inputs, reversed(node.inputs)):
            chain: list[Node] = []
            while gate in alone and (maker := makers.get(gate)) and len(chain) < 2:
                chain.append(maker)
                gate = maker.inputs[0]
                operator = _GATES.get(tuple(each.operator for each in chain))
                if operator is not None and gate == x:
                    changed[node.name] = replace(node, operator=operator, inputs=(x,))
                    gone.update(each.name for each in chain)
    nodes = (changed.get(node.name, node) for node in graph.nodes if node.name not in gone)
    return replace(graph, nodes=tuple(nodes))


_GATES = {("Sigmoid",): "Swish", ("Tanh", "Softplus"): "Mish"}
"""What x times this of x is, from the last of the operators to the first."""


def folded(graph: Graph, parameters: Mapping[str, Tensor]) -> tuple[Graph, dict[str, Tensor]]:
    """The graph without the batch norms that directly follow convolutions, and its parameters.

    It computes, to rounding, what it computed in evaluation mode; zeros of the kernels stay zero.
    A norm whose convolution or whose parameters something else reads too is left.
    """
    readers, alone = reads(graph), read_once(graph)
    convolutions = {node.outputs[0]: node for node in graph.nodes if node.operator == "Conv"}
    arrays = dict(parameters)
    described = dict(graph.parameters)
    changed: dict[str, Node] = {}
    gone: set[str] = set()
    for node in graph.nodes:
        convolution = convolutions.get(node.inputs[0]) if node.inputs else None
        if node.operator != "BatchNormalization" or convolution is None:
            continue
        if integer(node, "training_mode", 0):
            continue  # It takes the statistics of its input.
        own = (*convolution.inputs[1:], *node.inputs[1:])
        named = [name for name in own if name]
        if node.inputs[0] not in alone or any(readers[n] > 1 or n not in arrays for n in named):
            continue
        kernel, *biases = (arrays[name] for name in convolution.inputs[1:] if name)
        scale, bias, mean, variance = (arrays[name] for name in node.inputs[1:])
        epsilon = number(node, "epsilon", BATCH_NORM_EPSILON)
        factor = scale / torch.sqrt(variance + epsilon)
        before = biases[0] - mean if biases else -mean
        arrays[convolution.inputs[1]] = kernel * factor.reshape(-1, *(1,) * (kernel.dim() - 1))
        arrays[node.inputs[2]] = bias + before * factor
        for name in {*named} - {convolution.inputs[1], node.inputs[2]}:
            del arrays[name], described[name]
        inputs = (*convolution.inputs[:2], node.inputs[2])
        changed[node.name] = replace(convolution, inputs=inputs, outputs=node.outputs[:1])
        gone.add(convolution.name)
    # A folded convolution takes the place of its norm: its bias may be given only there.
    nodes = (changed.get(node.name, node) for node in graph.nodes if node.name not in gone)
    return replace(graph, nodes=tuple(nodes), parameters=described), arrays


def read_once(graph: Graph) -> set[str]:
    """Values that one node reads, and that are no outputs."""
    return {name for name, count in reads(graph).items() if count == 1} - graph.outputs.keys()
