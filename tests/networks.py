"""Darknet networks as torch modules."""

import torch
from torch import Tensor

from yoloprune.execution.module import Network
from yoloprune.frontends.darknet.activations import ACTIVATIONS
from yoloprune.frontends.darknet.document import layer_of
from yoloprune.frontends.darknet.lower import IMAGES, lower, parameters
from yoloprune.frontends.darknet.spec import NetworkSpec, Route
from yoloprune.frontends.darknet.state import State
from yoloprune.frontends.darknet.weights import check_state
from yoloprune.graph.builder import GraphBuilder
from yoloprune.graph.graph import Graph


def network_of(spec: NetworkSpec, state: State) -> Network:
    """A network in evaluation mode, in its parameters' dtype."""
    check_state(spec, state)
    return Network(graph_in(state, spec), parameters(state))


def graph_in(state: State, spec: NetworkSpec) -> Graph:
    """A network's graph with constants in its parameters' dtype."""
    dtype = next(iter(state.values())).kernel.dtype
    return lower(spec, dtype=str(dtype).removeprefix("torch."))


def layer_values(spec: NetworkSpec, graph: Graph) -> list[str]:
    """The value in which each layer ends: the last one of its nodes, or what it reads."""
    last = {}
    for node in graph.nodes:
        if node.name.startswith("layer_"):
            layer = spec.layers[layer_of(node.name)]
            part = layer.group_id if node.operator == "Split" and isinstance(layer, Route) else 0
            last[layer.index] = node.outputs[part]
    values = {-1: IMAGES}
    for layer in spec.layers:
        values[layer.index] = last.get(layer.index, values[layer.sources[0]])
    return [values[layer.index] for layer in spec.layers]


def layer_outputs(spec: NetworkSpec, state: State, images: Tensor) -> list[Tensor]:
    """What each layer gives."""
    found = {IMAGES: images}

    def note(name: str, value: Tensor) -> Tensor:
        found[name] = value
        return value

    network = network_of(spec, state)
    with torch.no_grad():
        network(images, observe=note)
    return [found[name] for name in layer_values(spec, network.graph)]


def activated(name: str, x: Tensor) -> Tensor:
    """What one of Darknet's activations makes of a tensor."""
    graph = GraphBuilder(opset=15, dtype=str(x.dtype).removeprefix("torch."))
    value = ACTIVATIONS[name](graph, "y", graph.input("x", ("n",)))
    if value == "x":
        return x
    return Network(graph.build({value: ("n",)}), {}, dtype=x.dtype)(x)[0]
