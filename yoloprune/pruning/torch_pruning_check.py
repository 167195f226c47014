"""Torch-Pruning as an independent referee of our groups.

G. Fang et al., "DepGraph: Towards Any Structural Pruning", 2023. It finds groups by tracing the
autograd graph of a torch module, and knows nothing of labels.
"""

from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import nn

from yoloprune.errors import VerificationError
from yoloprune.execution.stream import only_input
from yoloprune.pruning.groups import ChannelGroup, DependencyGraph
from yoloprune.pruning.modules import Modules

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
    network = Modules(dependencies)
    layers = network.layers
    name_of = {module: name for name, module in network.named.items() if name in layers}
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


def _signature(group: ChannelGroup) -> Signature:
    return (
        tuple((member.node, len(member.positions)) for member in group.producers),
        tuple(member.node for member in group.consumers),
    )
