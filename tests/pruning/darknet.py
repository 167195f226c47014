"""Darknet networks as the graphs that pruning works on."""

from dataclasses import dataclass

from torch import Tensor, dtype, float32

from tests.random_networks import random_state
from yoloprune.frontends.darknet.document import state as darknet_state
from yoloprune.frontends.darknet.edits import applied
from yoloprune.frontends.darknet.lower import lower, parameters
from yoloprune.frontends.darknet.spec import NetworkSpec
from yoloprune.frontends.darknet.state import ConvParameters, State
from yoloprune.pruning.budget import Budget
from yoloprune.pruning.cut import cut
from yoloprune.pruning.groups import DependencyGraph, analyze
from yoloprune.pruning.masked import masked
from yoloprune.pruning.plan import PruningPlan
from yoloprune.pruning.prune import prune


def dependencies(spec: NetworkSpec) -> DependencyGraph:
    """The channel groups of a Darknet network."""
    return analyze(lower(spec))


def arrays(spec: NetworkSpec, seed: int = 0, kind: dtype = float32) -> dict[str, Tensor]:
    """Random parameters of its graph, under which feature maps stay of order one."""
    return parameters(random_state(spec, seed, kind))


def slim_spec(spec: NetworkSpec, plan: PruningPlan) -> NetworkSpec:
    """The Darknet network that a plan leaves."""
    return applied(spec, cut(dependencies(spec), plan))


def layer(node: str) -> int:
    """The layer that a node belongs to."""
    return int(node.split(".")[0].removeprefix("layer_"))


def pruned_pair(spec: NetworkSpec, state: State, share: float) -> "PrunedPair":
    """A Darknet pair pruned to a share of its MACs, and the masked dense one."""
    pruned = prune(lower(spec), parameters(state), budget=Budget(limits={"macs": share}))
    silent = masked(pruned.dependencies, parameters(state), pruned.plan)
    return PrunedPair(
        spec=applied(spec, pruned.edits),
        state=darknet_state(pruned.parameters),
        masked=darknet_state(silent[1]),
    )


@dataclass(frozen=True, kw_only=True)
class PrunedPair:
    """A slim network, and the state of the dense network in which nobody hears what it lacks."""

    spec: NetworkSpec
    state: dict[int, ConvParameters]
    masked: dict[int, ConvParameters]
