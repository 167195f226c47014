"""Torch-Pruning as an independent referee of our groups.

G. Fang et al., "DepGraph: Towards Any Structural Pruning", 2023. It finds groups by tracing the
torch model's autograd graph, and knows nothing of cfgs.
"""

from dataclasses import dataclass

import torch
from torch import nn

from yoloprune.darknet.spec import Conv, NetworkSpec
from yoloprune.errors import VerificationError
from yoloprune.frontends.darknet.document import layer_of
from yoloprune.frontends.darknet.lower import lower
from yoloprune.model.network import Network
from yoloprune.pruning.groups import ChannelGroup, DependencyGraph, analyze

Signature = tuple[tuple[tuple[int, int], ...], tuple[int, ...]]
"""Producers as (layer, number of filters), and consumer layers of a group."""


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


def cross_check(spec: NetworkSpec, graph: DependencyGraph | None = None) -> CrossCheck:
    """Compare our prunable groups (or those of `graph`) with those that Torch-Pruning traces.

    A trace cannot see channels that nobody reads, darknet's [reorg], depthwise convolutions with
    several filters a channel, shortcuts of unequal widths, and routes or shortcuts that split a
    convolution's filters into several groups: there the two differ though neither is wrong. Raises
    `VerificationError` when nothing can be traced.
    """
    graph = analyze(lower(spec)) if graph is None else graph
    ours = {_signature(group) for group in graph.prunable}
    try:
        traced = traced_groups(spec, graph)
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


def traced_groups(spec: NetworkSpec, graph: DependencyGraph) -> set[Signature]:
    """Signatures of the groups that Torch-Pruning traces, our frozen convolutions ignored."""
    import torch_pruning as tp

    frozen = {
        layer_of(member.node)
        for group in graph.groups
        if group.frozen_because is not None
        for member in group.producers
    }
    network = Network(spec).eval()
    network.requires_grad_(True)
    index_of = {network.layers[str(conv.index)].conv: conv.index for conv in spec.convs}
    ignored = [module for module, index in index_of.items() if index in frozen]
    traced = tp.DependencyGraph().build_dependency(
        network, example_inputs=torch.zeros(1, *spec.input_shape), verbose=False
    )
    signatures = set()
    for group in traced.get_all_groups(ignored_layers=ignored, root_module_types=[nn.Conv2d]):
        producers: dict[int, int] = {}
        consumers: set[int] = set()
        for dependency, filters in group:
            index = index_of.get(dependency.target.module)
            if index is None:
                continue
            if traced.is_out_channel_pruning_fn(dependency.handler):
                producers[index] = len(filters)
            else:
                consumers.add(index)
        # A depthwise convolution is pruned through either end; it has no kernel columns.
        consumers -= {i for i in consumers & producers.keys() if _is_grouped(spec, i)}
        signatures.add((tuple(sorted(producers.items())), tuple(sorted(consumers))))
    return signatures


def _signature(group: ChannelGroup) -> Signature:
    return (
        tuple((layer_of(member.node), len(member.positions)) for member in group.producers),
        tuple(layer_of(member.node) for member in group.consumers),
    )


def _is_grouped(spec: NetworkSpec, index: int) -> bool:
    layer = spec.layers[index]
    return isinstance(layer, Conv) and layer.groups > 1
