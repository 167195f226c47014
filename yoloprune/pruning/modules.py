"""A graph made of torch's own modules, for programs that know nothing else."""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from yoloprune.execution.stream import arrays_like, only_input
from yoloprune.graph.graph import Graph, Node
from yoloprune.graph.operators.elementwise import BATCH_NORM_EPSILON
from yoloprune.graph.operators.operator import number
from yoloprune.graph.operators.table import operator_of
from yoloprune.pruning.groups import DependencyGraph
from yoloprune.pruning.layers import Arrays, Layer, arrays_of, as_kernel, by_filter, layers_of
from yoloprune.pruning.recover.moments import windows_of


class Modules(nn.Module):
    """A graph whose 2-D convolutions, matrix products and batch norms are modules of torch.

    `named` has them by the names of their nodes. Their numbers are the `parameters`, or any where
    none are given; whatever else the graph consists of is computed as it is, and no module.
    """

    def __init__(self, dependencies: DependencyGraph, parameters: Arrays | None = None) -> None:
        super().__init__()
        self.graph: Graph = dependencies.graph
        self.layers = layers_of(dependencies)
        shapes = dependencies.labels.facts.shapes
        if parameters is None:
            parameters = {name: torch.ones(p.shape) for name, p in self.graph.parameters.items()}
        known = arrays_of(self.graph, parameters)
        self.named: dict[str, nn.Module] = {}
        for node in self.graph.nodes:
            module = None
            if node.name in self.layers:
                module = _layer(self.layers[node.name], known)
            elif node.operator == "BatchNormalization" and len(shapes[node.inputs[0]]) == 4:
                module = _norm(node, known)
            if module is not None:
                self.named[node.name] = module.eval()
        self.own = nn.ModuleList(self.named.values())
        self.arrays = arrays_like(self.graph, parameters, torch.zeros(1))

    def forward(self, images: Tensor) -> list[Tensor]:
        """The outputs, in order."""
        values: dict[str, Tensor] = {**self.arrays, only_input(self.graph): images}
        for node in self.graph.nodes:
            if node.name in self.named:
                value = values[node.inputs[0]]
                if node.operator == "Conv":
                    value = F.pad(value, windows_of(self.layers[node.name]).border())
                values[node.outputs[0]] = self.named[node.name](value)
                continue
            read = [values[name] if name else None for name in node.inputs]
            outputs = operator_of(node).compute(node, read, self.graph.opset)
            values.update(zip(node.outputs, outputs, strict=False))
        return [values[name] for name in self.graph.outputs]

    def state(self) -> Iterator[tuple[str, Tensor]]:
        """The numbers that modules hold now, by the names of the graph's arrays."""
        for node in self.graph.nodes:
            module = self.named.get(node.name)
            match module:
                case nn.Conv2d():
                    yield node.inputs[1], module.weight
                case nn.Linear():
                    yield node.inputs[1], as_kernel(self.layers[node.name], module.weight)
                case nn.BatchNorm2d(
                    running_mean=Tensor() as mean, running_var=Tensor() as variance
                ):
                    held = module.weight, module.bias, mean, variance
                    yield from zip(node.inputs[1:5], held, strict=True)
            if isinstance(module, nn.Conv2d | nn.Linear) and module.bias is not None:
                yield node.inputs[2], module.bias


def _layer(layer: Layer, arrays: Arrays) -> nn.Module | None:
    """The module of torch that computes the products of a layer, where there is one."""
    node = layer.node
    bias = arrays[node.inputs[2]] if len(node.inputs) > 2 and node.inputs[2] else None
    module: nn.Conv2d | nn.Linear
    match node.operator:
        case "Conv" if len(layer.window) == 2:
            seen = windows_of(layer)
            (down, right), (rows, columns) = seen.strides, seen.dilations
            module = nn.Conv2d(
                layer.channels,
                layer.filters,
                layer.window,
                (down, right),
                dilation=(rows, columns),
                groups=layer.groups,
                bias=bias is not None,
            )
        case "Gemm" | "MatMul" if layer.bias == (node.inputs[2] if bias is not None else None):
            module = nn.Linear(layer.channels, layer.filters, bias=bias is not None)
        case _:
            return None
    with torch.no_grad():
        module.weight.copy_(by_filter(layer, arrays[layer.kernel]))
        if module.bias is not None and bias is not None:
            module.bias.copy_(bias.reshape(-1))
    return module


def _norm(node: Node, arrays: Arrays) -> nn.Module:
    scale, bias, mean, variance = (arrays[name] for name in node.inputs[1:5])
    module = nn.BatchNorm2d(len(scale), eps=number(node, "epsilon", BATCH_NORM_EPSILON))
    module.load_state_dict(
        {"weight": scale, "bias": bias, "running_mean": mean, "running_var": variance}, strict=False
    )
    return module
