"""Three convolutions, what they read and what they give."""

from collections.abc import Mapping

import torch

from tests.pruning.networks import (
    random_images,
)
from yoloprune.execution.stream import arrays_like, computed
from yoloprune.frontends.darknet.lower import lower
from yoloprune.frontends.darknet.spec import NetworkSpec
from yoloprune.graph.graph import Graph
from yoloprune.pruning.budget import Budget
from yoloprune.pruning.groups import DependencyGraph, analyze
from yoloprune.pruning.plan import PruningPlan

CFG = """[net]
height=12
width=12
channels=3
[convolutional]
batch_normalize=1
filters=8
size=3
pad=1
activation=leaky
[convolutional]
batch_normalize=1
filters=8
size=3
stride=2
pad=1
groups={groups}
activation={activation}
[convolutional]
filters=5
size=1
activation=linear
"""


def network(spec: NetworkSpec) -> DependencyGraph:
    return analyze(lower(spec))


def images_of(dependencies: DependencyGraph, count: int) -> torch.Tensor:
    return random_images(dependencies.graph, count=count, seed=1)


def plan_of(dependencies: DependencyGraph, keep: dict[int, tuple[int, ...]]) -> PruningPlan:
    return PruningPlan(
        graph_digest=dependencies.digest, criterion="test", budget=Budget(limits={}), keep=keep
    )


def value_of(
    found: tuple[Graph, Mapping[str, torch.Tensor]], name: str, images: torch.Tensor
) -> torch.Tensor:
    """A value inside of a network."""
    graph, own = found
    return computed(graph, arrays_like(graph, own, images), {"images": images}, [name])[name]
