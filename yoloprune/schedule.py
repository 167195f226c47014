"""Iterative pruning: score, prune a small step, fine-tune, until the target.

S. Han et al., "Learning both Weights and Connections for Efficient Neural Networks", 2015. What
pruning, fine-tuning and evaluating mean comes in as functions; this module only decides how far
each step goes and when to stop.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

from yoloprune.cost import cost
from yoloprune.darknet.spec import NetworkSpec
from yoloprune.darknet.state import State
from yoloprune.errors import PlanError


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduledNetwork:
    """The network after a step: `keep_macs` is its share of the dense network's MACs.

    Step 0 is the dense network; `accuracy` is what `evaluate` gave.
    """

    step: int
    keep_macs: float
    spec: NetworkSpec
    state: State
    accuracy: float


Pair: TypeAlias = tuple[NetworkSpec, State]
Prune: TypeAlias = Callable[[NetworkSpec, State, float, int], Pair]
"""(spec, state, share of *this* network's MACs to keep, step) to the slim pair."""

Finetune: TypeAlias = Callable[[NetworkSpec, State, int], Pair]
"""(spec, state, step) to the fine-tuned pair."""

Evaluate: TypeAlias = Callable[[NetworkSpec, State, int], float]
"""(spec, state, step) to the accuracy; step 0 is the dense network."""


def step_targets(step: float, target: float) -> list[float]:
    """Shares of the dense MACs after each step: `step` less each time, the last one `target`.

    Raises `PlanError` unless 0 < step < 1 and 0 < target < 1.
    """
    if not (0 < step < 1 and 0 < target < 1):
        raise PlanError(f"step={step:g} and keep_macs={target:g} must both be in (0, 1)")
    # Less a little: 0.1 / 0.05 is a hair above 2 in binary, and must not make three steps.
    count = math.ceil((1 - target) / step - 1e-9)
    return [max(target, 1 - step * number) for number in range(1, count + 1)]


def iterate(
    spec: NetworkSpec,
    state: State,
    *,
    step: float,
    keep_macs: float,
    prune: Prune,
    finetune: Finetune,
    evaluate: Evaluate,
    floor: float | None = None,
) -> Iterator[ScheduledNetwork]:
    """Yield the dense network and then the network after each step.

    Stops before the target when an accuracy is under `floor`: that network is the last one yielded,
    and the one before it the last good one. Raises `PlanError` unless 0 < step < 1 and
    0 < keep_macs < 1.
    """
    dense = cost(spec).macs
    targets = step_targets(step, keep_macs)
    for number, share in enumerate([1.0, *targets]):
        if number:
            share_of_this = min(1.0, share * dense / cost(spec).macs)
            spec, state = prune(spec, state, share_of_this, number)
            spec, state = finetune(spec, state, number)
        accuracy = evaluate(spec, state, number)
        yield ScheduledNetwork(
            step=number,
            keep_macs=cost(spec).macs / dense,
            spec=spec,
            state=state,
            accuracy=accuracy,
        )
        if floor is not None and accuracy < floor:
            return
