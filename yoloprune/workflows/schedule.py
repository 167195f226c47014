"""Iterative pruning: score, prune a small step, fine-tune, until the target.

S. Han et al., "Learning both Weights and Connections for Efficient Neural Networks", 2015. What
pruning, fine-tuning and evaluating mean comes in as functions, and so does what there is a share of
(MACs, weights); this module only decides how far each step goes and when to stop.
"""

import math
from collections.abc import Callable, Iterator, Set
from dataclasses import dataclass
from typing import TypeAlias

from yoloprune.errors import UsageError
from yoloprune.graph.model import Model
from yoloprune.workflows.choices import Schedule

SCHEDULE = "schedule.json"
"""File of a run that says what it was started with."""

MOST_STEPS = 1000
"""Each takes seconds at least, and mostly minutes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduledNetwork:
    """The network after a step: `kept` is its share of the dense network.

    Step 0 is the dense network; `accuracy` is what `evaluate` gave, be it an error, and `judged`
    says whether it is the network's own or one of a network that is yet to be trained.
    """

    step: int
    kept: float
    model: Model
    accuracy: float
    judged: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """Where a run stops: at an accuracy under `floor`, or an error above `ceiling`."""

    floor: float | None = None
    ceiling: float | None = None

    def allows(self, found: float) -> bool:
        """Whether a network is good enough."""
        high_enough = self.floor is None or found >= self.floor
        return high_enough and (self.ceiling is None or found <= self.ceiling)

    def __str__(self) -> str:
        """What a network is that is not."""
        return "above the ceiling" if self.floor is None else "under the floor"


NO_LIMIT = Limit()

Prune: TypeAlias = Callable[[Model, float, int], Model]
"""(network, share of the *dense* network to keep, step) to the pruned network."""

Kept: TypeAlias = Callable[[Model], float]
"""The share of the dense network that a network is."""

Finetune: TypeAlias = Callable[[Model, int], Model]
"""(network, step) to the fine-tuned network."""

Evaluate: TypeAlias = Callable[[Model, int], float]
"""(network, step) to the accuracy; step 0 is the dense network."""


def step_targets(step: float, target: float, schedule: Schedule = Schedule.LINEAR) -> list[float]:
    """Shares of the dense network after each step, the last one `target`.

    There are as many steps as it takes with `step` less each time. Raises `UsageError` unless
    0 < step < 1 and 0 < target < 1, and for more than `MOST_STEPS`.
    """
    if not (0 < step < 1 and 0 < target < 1):
        raise UsageError(f"`step` {step:g} and the fraction to keep, {target:g}, must be in (0, 1)")
    # Less a little: 0.1 / 0.05 is a hair above 2 in binary, and must not make three steps.
    steps = (1 - target) / step - 1e-9
    if steps > MOST_STEPS:
        raise UsageError(f"`step` {step:g} makes {steps:.3g} steps: give a larger one")
    count = math.ceil(steps)
    if schedule is Schedule.CUBIC:
        return [target + (1 - target) * (1 - number / count) ** 3 for number in range(1, count + 1)]
    return [max(target, 1 - step * number) for number in range(1, count + 1)]


def follow(
    model: Model,
    *,
    step: float,
    keep: float,
    schedule: Schedule = Schedule.LINEAR,
    prune: Prune,
    kept: Kept,
    finetune: Finetune,
    evaluate: Evaluate,
    limit: Limit = NO_LIMIT,
    untrained: Set[int] = frozenset(),
) -> Iterator[ScheduledNetwork]:
    """Yield the dense network and then the network after each step.

    Stops before the target when the `limit` does not allow an accuracy: that network is the last
    one yielded, and the one before it the last good one. Steps that `finetune` leaves `untrained`
    are not held to it. Raises `UsageError` unless 0 < step < 1 and 0 < keep < 1.
    """
    for number, share in enumerate([1.0, *step_targets(step, keep, schedule)]):
        if number:
            model = finetune(prune(model, share, number), number)
        accuracy = evaluate(model, number)
        judged = number not in untrained
        yield ScheduledNetwork(
            step=number,
            kept=kept(model),
            model=model,
            accuracy=accuracy,
            judged=judged,
        )
        if judged and not limit.allows(accuracy):
            return
