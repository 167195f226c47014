"""Darknet networks as the graphs that pruning works on."""

from torch import Tensor, dtype, float32

from tests.random_networks import random_state
from yoloprune.darknet.spec import NetworkSpec
from yoloprune.frontends.darknet.edits import applied
from yoloprune.frontends.darknet.lower import lower, parameters
from yoloprune.pruning.cut import cut
from yoloprune.pruning.groups import DependencyGraph, analyze
from yoloprune.pruning.plan import PruningPlan


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
