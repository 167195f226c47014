"""Random plans for tests."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from torch import Tensor

from yoloprune.pruning.budget import Budget
from yoloprune.pruning.choices import Compensation
from yoloprune.pruning.groups import DependencyGraph
from yoloprune.pruning.layers import as_kernel, by_filter, layers_of
from yoloprune.pruning.plan import PruningPlan


def random_plan(graph: DependencyGraph, seed: int) -> PruningPlan:
    """Keeps a random subset of each group, the same number in each equal part."""
    generator = np.random.default_rng(seed)
    keep = {}
    for group in graph.prunable:
        each = generator.integers(1, group.part_size + 1)
        runs = [generator.permutation(group.part_size)[:each] for _ in range(group.equal_parts)]
        numbers = np.concatenate([run + i * group.part_size for i, run in enumerate(runs)])
        keep[group.id] = tuple(sorted(numbers.tolist()))
    return PruningPlan(
        graph_digest=graph.digest, criterion="test", budget=Budget(limits={}), keep=keep
    )


def with_carriers(graph: DependencyGraph, plan: PruningPlan) -> PruningPlan:
    """The plan with the first removed channel of each equal part kept as a carrier."""
    keep, carriers = dict(plan.keep), {}
    for group in graph.prunable:
        gone = np.setdiff1d(np.arange(group.size), plan.keep[group.id])
        if len(gone):
            firsts = {int(n) // group.part_size: int(n) for n in gone[::-1]}
            carriers[group.id] = tuple(sorted(firsts.values()))
            keep[group.id] = tuple(sorted({*keep[group.id], *carriers[group.id]}))
    return replace(plan, keep=keep, carriers=carriers, compensation=Compensation.CARRIER)


def with_dead_channels(
    graph: DependencyGraph, parameters: Mapping[str, Tensor], plan: PruningPlan
) -> dict[str, Tensor]:
    """The parameters with gamma, or the kernel without batch norm, 0 in all that the plan removes.

    Carriers count as removed: that is what they are chosen from.
    """
    layers, dead_parameters = layers_of(graph), dict(parameters)
    for group in graph.prunable:
        alive = set(plan.keep[group.id]) - set(plan.carriers.get(group.id, ()))
        for member in group.producers:
            layer = layers[member.node]
            dead = [
                position
                for position, number in zip(member.positions, member.channels, strict=True)
                if number not in alive
            ]
            name = layer.kernel if layer.norm is None else layer.norm.scale
            tensor = dead_parameters[name]
            if layer.norm is None:
                filters = by_filter(layer, tensor).clone()
                filters[dead] = 0
                dead_parameters[name] = as_kernel(layer, filters)
            else:
                dead_parameters[name] = tensor.clone()
                dead_parameters[name][dead] = 0
    return dead_parameters
