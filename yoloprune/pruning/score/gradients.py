"""First-order importance: how a loss answers to each channel that is read."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from yoloprune.execution.stream import Images, arrays_like, batched, chunked, computed, only_input
from yoloprune.graph.graph import Graph, Node, ValueType
from yoloprune.pruning.groups import DependencyGraph
from yoloprune.pruning.layers import Arrays, Layer, Layers, layers_of

Loss: TypeAlias = Callable[[Sequence[Tensor], range], Tensor]
"""From a network's outputs for the images of these numbers to the sum of their losses."""

CHUNK = 2
"""Images whose outputs are all held at once, for the way back."""


def input_gradients(
    dependencies: DependencyGraph, parameters: Arrays, images: Images, loss: Loss
) -> dict[str, NDArray[np.float64]]:
    """Derivative of each image's loss by a factor, 1 so far, on each channel that is read.

    For images (B, C, H, W); (B, channels read) by node of the layer. To first order it is what the
    loss falls by if that layer cannot read the channel. The first axis of what a layer reads is
    that of the images.
    """
    layers = layers_of(dependencies)
    graph = _gated(dependencies.graph, layers)
    name = only_input(dependencies.graph)
    arrays = arrays_like(graph, parameters, images[:1])
    found: dict[str, list[NDArray[np.float64]]] = {own: [] for own in layers}
    first = 0
    parts = batched(dependencies.graph, images, CHUNK)
    for chunk in (
        own for part in parts for own in chunked(dependencies.graph, images[part], CHUNK)
    ):
        gates = {own: _gate(layer, chunk) for own, layer in layers.items()}
        inputs = {name: chunk} | {_gate_of(own): gate for own, gate in gates.items()}
        outputs = computed(graph, arrays, inputs, graph.outputs)
        total = loss(list(outputs.values()), range(first, first + len(chunk)))
        gradients = torch.autograd.grad(total, list(gates.values()), allow_unused=True)
        for (own, gate), gradient in zip(gates.items(), gradients, strict=True):
            value = torch.zeros_like(gate) if gradient is None else gradient
            found[own].append(value.flatten(1).double().numpy(force=True))
        first += len(chunk)
    return {own: np.concatenate(chunks) for own, chunks in found.items()}


def _gated(graph: Graph, layers: Layers) -> Graph:
    """The graph in which each layer reads what it reads times a factor that is given."""
    nodes: list[Node] = []
    for node in graph.nodes:
        if node.name in layers:
            product, gate = f"{node.name}.gated", _gate_of(node.name)
            read = (node.inputs[0], gate)
            nodes.append(Node(name=product, operator="Mul", inputs=read, outputs=(product,)))
            node = replace(node, inputs=(product, *node.inputs[1:]))
        nodes.append(node)
    gates = {
        _gate_of(name): ValueType(shape=layer.before, dtype="float32")
        for name, layer in layers.items()
    }
    return replace(graph, nodes=tuple(nodes), inputs={**graph.inputs, **gates})


def _gate_of(name: str) -> str:
    return f"{name}.gate"


def _gate(layer: Layer, chunk: Tensor) -> Tensor:
    shape = [len(chunk)] + [1] * (len(layer.before) - 1)
    shape[layer.channel_axis] = layer.channels
    return chunk.new_ones(shape).requires_grad_()
