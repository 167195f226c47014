"""Random plans for tests."""

from dataclasses import replace

import numpy as np

from yoloprune.darknet.state import ConvParameters, State
from yoloprune.pruning.groups import DependencyGraph
from yoloprune.pruning.plan import Budget, Compensation, PruningPlan


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
        spec_digest=graph.spec.digest(), criterion="test", budget=Budget(), keep=keep
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
    graph: DependencyGraph, state: State, plan: PruningPlan
) -> dict[int, ConvParameters]:
    """The state with gamma (or, without batch norm, the kernel) 0 in all that the plan removes.

    Carriers count as removed: that is what they are chosen from.
    """
    dead_state = dict(state)
    for group in graph.prunable:
        alive = set(plan.keep[group.id]) - set(plan.carriers.get(group.id, ()))
        for member in group.producers:
            parameters = dead_state[member.layer]
            dead = [
                position
                for position, number in zip(member.positions, member.channels, strict=True)
                if number not in alive
            ]
            name = "kernel" if parameters.scale is None else "scale"
            tensor = getattr(parameters, name).clone()
            tensor[dead] = 0
            dead_state[member.layer] = replace(parameters, **{name: tensor})
    return dead_state
