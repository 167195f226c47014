"""Accuracy against MACs for several criteria, without training: what to look at first.

What evaluating means comes in as a function.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from yoloprune.darknet.cost import cost
from yoloprune.darknet.spec import NetworkSpec
from yoloprune.darknet.state import State
from yoloprune.pruning.budget import Scope, Scores, coarsest, solve
from yoloprune.pruning.compensation import compensate
from yoloprune.pruning.groups import analyse
from yoloprune.pruning.plan import Budget, Compensation, PruningPlan
from yoloprune.pruning.pruner import rankable_scores
from yoloprune.pruning.surgery import surgery


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepPoint:
    """A slim network as pruned: its share of the dense network's MACs, and its accuracy."""

    criterion: str
    keep_macs: float
    accuracy: float


def sweep(
    spec: NetworkSpec,
    state: State,
    *,
    criteria: Sequence[str],
    shares: Sequence[float],
    evaluate: Callable[[NetworkSpec, State], float],
    scope: Scope = Scope.GLOBAL,
    compensation: Compensation = Compensation.NONE,
    multiple_of: int | None = 1,
    seed: int = 0,
    measured: Mapping[str, Scores] | None = None,
) -> Iterator[SweepPoint]:
    """A point for each criterion and share, criteria first, shares in the order given.

    `measured` are the scores of criteria that look at images (`selection.py`), by name. Where
    `multiple_of` is None channel counts are rounded as each share allows (`budget.coarsest`).

    Nothing is proven here: `pruning.pruner.prune` does that for the budget that is chosen. Raises
    `PlanError`, before anything is evaluated, for an unknown criterion or a share that cannot be
    met.
    """
    graph = analyse(spec)
    dense = cost(spec).macs
    known = measured or {}
    scores = {
        name: rankable_scores(graph, state, name, scope, seed=seed, measured=known.get(name))
        for name in criteria
    }
    budgets = [Budget(keep_macs=share, multiple_of=multiple_of or 1) for share in shares]
    if multiple_of is None:
        budgets = [coarsest(graph, b, compensation=compensation) or b for b in budgets]
    plans = [
        solve(graph, scores[name], budget, criterion=name, compensation=compensation)
        for name in criteria
        for budget in budgets
    ]

    def point(plan: PruningPlan) -> SweepPoint:
        slim_spec, slim_state = surgery(spec, compensate(spec, state, plan), plan)
        return SweepPoint(
            criterion=plan.criterion,
            keep_macs=cost(slim_spec).macs / dense,
            accuracy=evaluate(slim_spec, slim_state),
        )

    return map(point, plans)
