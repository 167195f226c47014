"""Torch-Pruning: removes channels from modules of torch, by the dependencies that it traces."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from yoloprune.errors import GraphError
from yoloprune.execution.stream import only_input
from yoloprune.frontends.onnx.build import onnx_model
from yoloprune.frontends.onnx.read import read
from yoloprune.graph.graph import Graph, Node, Parameter
from yoloprune.pruning.groups import analyze
from yoloprune.pruning.modules import Modules
from yoloprune.workflows.comparison.foreign import elsewhere
from yoloprune.workflows.comparison.tool import Tool

if TYPE_CHECKING:
    import onnx


def thin(dense: Path, share: float, multiple_of: int) -> "onnx.ModelProto":
    """The file as torch's modules, of which this share of channels is removed as its README shows.

    Importance is `GroupMagnitudeImportance`, the share is of each layer. Layers that we leave whole
    are told to it: they are heads, or what it cannot prune.
    """
    import torch_pruning as tp

    model = read(dense)
    dependencies = analyze(model.graph)
    network = Modules(dependencies, model.parameters).eval()
    frozen = {
        member.node
        for group in dependencies.groups
        if group.frozen_because is not None
        for member in group.producers
    }
    name = only_input(model.graph)
    images = torch.rand(dependencies.labels.facts.shapes[name])
    pruner = tp.pruner.BasePruner(
        network,
        images,
        importance=tp.importance.GroupMagnitudeImportance(p=2),
        pruning_ratio=share,
        ignored_layers=[network.named[node] for node in frozen if node in network.named],
        root_module_types=[nn.Conv2d, nn.Linear],
        round_to=multiple_of,
    )
    pruner.step()
    with torch.no_grad():
        network(images)
    arrays = _read_back(network, model.parameters)
    graph = _shaped(network, arrays)
    return onnx_model(graph, {name: array.detach().numpy() for name, array in arrays.items()})


def _read_back(network: Modules, parameters: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The parameters as the modules have them now."""
    found = defaultdict(list)
    for name, array in network.state():
        found[name].append(array)
    for name, (first, *others) in found.items():
        if not all(other.shape == first.shape and torch.equal(other, first) for other in others):
            raise GraphError(f"it cut the uses of {name}, which layers share, apart")
    left = {name: found[name][0] if name in found else array for name, array in parameters.items()}
    return {name: array.to(parameters[name].dtype) for name, array in left.items()}


def _shaped(network: Modules, arrays: Mapping[str, Tensor]) -> Graph:
    """The graph with the shapes and groups that the modules have now."""
    graph = network.graph
    shapes = {
        name: Parameter(shape=tuple(arrays[name].shape), dtype=parameter.dtype)
        for name, parameter in graph.parameters.items()
    }
    nodes = tuple(_grouped(node, network.named.get(node.name)) for node in graph.nodes)
    return replace(graph, parameters=shapes, nodes=nodes, observed={})


def _grouped(node: Node, module: nn.Module | None) -> Node:
    if not isinstance(module, nn.Conv2d) or module.groups == node.attributes.get("group", 1):
        return node
    return replace(node, attributes={**node.attributes, "group": module.groups})


TORCH_PRUNING = Tool(
    name="torch-pruning",
    about="BasePruner with GroupMagnitudeImportance, on the graph as modules of torch",
    make=elsewhere(thin),
    modules=("torch_pruning",),
    install="pip install torch-pruning",
)
