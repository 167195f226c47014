"""Torch-Pruning as an independent referee of our groups.

G. Fang et al., "DepGraph: Towards Any Structural Pruning", 2023. It finds groups by tracing the
autograd graph of a torch module, and knows nothing of labels.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from yoloprune.errors import VerificationError
from yoloprune.execution.stream import arrays_like, only_input
from yoloprune.graph.graph import Graph
from yoloprune.graph.operators.table import operator_of
from yoloprune.pruning.groups import ChannelGroup, DependencyGraph
from yoloprune.pruning.layers import Layer, layers_of
from yoloprune.pruning.recover.moments import windows_of

Signature: TypeAlias = tuple[tuple[tuple[str, int], ...], tuple[str, ...]]
"""Producers as (node, number of filters), and consumer nodes of a group."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CrossCheck:
    """Groups that both found, and those that only one did."""

    agreed: tuple[Signature, ...]
    only_ours: tuple[Signature, ...]
    only_traced: tuple[Signature, ...]

    @property
    def passed(self) -> bool:
        """Whether both found the same groups."""
        return not self.only_ours and not self.only_traced


def cross_check(dependencies: DependencyGraph) -> CrossCheck:
    """Compare our prunable groups with those that Torch-Pruning traces.

    A trace cannot see channels that nobody reads, darknet's [reorg], depthwise convolutions with
    several filters a channel, shortcuts of unequal widths, and routes or shortcuts that split a
    convolution's filters into several groups: there the two differ though neither is wrong. Raises
    `VerificationError` when nothing can be traced.
    """
    ours = {_signature(group) for group in dependencies.prunable}
    try:
        traced = traced_groups(dependencies)
    except Exception as error:
        # Whatever a foreign tracer trips over, the answer to the user is that it could not say.
        raise VerificationError(
            f"Torch-Pruning cannot trace this network ({type(error).__name__}: {error}): "
            "no cross-check possible"
        ) from error
    if not traced:
        raise VerificationError("Torch-Pruning traced no group: no cross-check possible")
    return CrossCheck(
        agreed=tuple(sorted(ours & traced)),
        only_ours=tuple(sorted(ours - traced)),
        only_traced=tuple(sorted(traced - ours)),
    )


def traced_groups(dependencies: DependencyGraph) -> set[Signature]:
    """Signatures of the groups that Torch-Pruning traces, our frozen layers ignored."""
    import torch_pruning as tp

    frozen = {
        member.node
        for group in dependencies.groups
        if group.frozen_because is not None
        for member in group.producers
    }
    layers = layers_of(dependencies)
    network = _Traceable(dependencies, layers)
    name_of = {module: name for name, module in network.named.items()}
    shape = dependencies.labels.facts.shapes[only_input(dependencies.graph)]
    traced = tp.DependencyGraph().build_dependency(
        network, example_inputs=torch.zeros(shape), verbose=False
    )
    signatures = set()
    for group in traced.get_all_groups(
        ignored_layers=[network.named[name] for name in frozen if name in network.named],
        root_module_types=[nn.Conv2d, nn.Linear],
    ):
        producers: dict[str, int] = {}
        consumers: set[str] = set()
        for dependency, filters in group:
            name = name_of.get(dependency.target.module)
            if name is None:
                continue
            if traced.is_out_channel_pruning_fn(dependency.handler):
                producers[name] = len(filters)
            else:
                consumers.add(name)
        # A depthwise convolution is pruned through either end; it has no kernel columns.
        consumers -= {name for name in consumers & producers.keys() if layers[name].groups > 1}
        order = list(layers)
        signatures.add(
            (
                tuple((name, producers[name]) for name in sorted(producers, key=order.index)),
                tuple(sorted(consumers, key=order.index)),
            )
        )
    return signatures


class _Traceable(nn.Module):
    """A graph whose 2-D convolutions and matrix products are modules of torch; weights are any."""

    def __init__(self, dependencies: DependencyGraph, layers: Mapping[str, Layer]) -> None:
        super().__init__()
        self.graph: Graph = dependencies.graph
        self.layers = layers
        self.named: dict[str, nn.Module] = {}
        for name, layer in layers.items():
            module = _module(layer)
            if module is not None:
                self.named[name] = module
        self.own = nn.ModuleList(self.named.values())
        arrays = {name: torch.ones(p.shape) for name, p in self.graph.parameters.items()}
        self.arrays = arrays_like(self.graph, arrays, torch.zeros(1))

    def forward(self, images: Tensor) -> list[Tensor]:
        values: dict[str, Tensor] = {**self.arrays, only_input(self.graph): images}
        for node in self.graph.nodes:
            if node.name in self.named:
                layer, value = self.layers[node.name], values[node.inputs[0]]
                if node.operator == "Conv":
                    value = F.pad(value, windows_of(layer).border())
                values[node.outputs[0]] = self.named[node.name](value)
                continue
            read = [values[name] if name else None for name in node.inputs]
            outputs = operator_of(node).compute(node, read, self.graph.opset)
            values.update(zip(node.outputs, outputs, strict=False))
        return [values[name] for name in self.graph.outputs]


def _module(layer: Layer) -> nn.Module | None:
    """The module of torch that computes the products of a layer, where there is one."""
    match layer.node.operator:
        case "Conv" if len(layer.window) == 2:
            seen = windows_of(layer)
            (down, right), (rows, columns) = seen.strides, seen.dilations
            return nn.Conv2d(
                layer.channels,
                layer.filters,
                layer.window,
                (down, right),
                dilation=(rows, columns),
                groups=layer.groups,
            )
        case "Gemm" | "MatMul":
            return nn.Linear(layer.channels, layer.filters)
        case _:
            return None


def _signature(group: ChannelGroup) -> Signature:
    return (
        tuple((member.node, len(member.positions)) for member in group.producers),
        tuple(member.node for member in group.consumers),
    )
