"""From scores and a budget to a plan.

All prunable channels stand in one queue, lowest score first; ties break by group, then channel. The
plan removes the shortest beginning of the queue with which every limit holds. A group's floor (its
fewest channels), its equal parts and the rounding turn "so many of the queue" into a count per
group that never rises with the queue's position, and a group always keeps its best channels. So the
cost falls monotonically along the queue, and bisection on the static cost model is exact.
"""

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from yoloprune.errors import PlanError
from yoloprune.pruning.budget import Budget
from yoloprune.pruning.choices import Compensation, Scope
from yoloprune.pruning.groups import ChannelGroup, DependencyGraph, named
from yoloprune.pruning.measures import MEASURES, Meter, Remaining
from yoloprune.pruning.plan import KeepIndices, PruningPlan

Scores = Mapping[int, NDArray[np.float64]]
"""Importance of each channel of each prunable group, by group id."""


ROUNDINGS = (8, 4, 2, 1)
"""What channel counts are rounded to, coarsest first, where nobody says.

Blocked convolutions (ONNX Runtime, ncnn) are slow with counts that make no multiple of 8.
"""


def comparable(scores: Scores, scope: Scope) -> dict[int, NDArray[np.float64]]:
    """Scores that may be ranked across groups."""
    return ranked(normalized(scores), scope)


def ranked(scores: Scores, scope: Scope) -> dict[int, NDArray[np.float64]]:
    """Scores that mean the same in every group, as the scope ranks them."""
    return dict(scores) if scope is Scope.GLOBAL else quantiles(scores)


def normalized(scores: Scores) -> dict[int, NDArray[np.float64]]:
    """Scores divided by their group's mean, which makes them comparable across groups.

    Raw norms differ between layers by orders of magnitude for reasons that have nothing to do with
    importance (fan-in, batch norm); ranked globally, they would empty whole layers.
    """
    return {i: s / mean if (mean := s.mean()) > 0 else s for i, s in scores.items()}


def quantiles(scores: Scores) -> dict[int, NDArray[np.float64]]:
    """Each score's rank within its group in (0, 1): every group loses the same share."""
    ranks = {}
    for group_id, s in scores.items():
        rank = np.empty(len(s))
        rank[np.argsort(s, kind="stable")] = np.arange(len(s))
        ranks[group_id] = (rank + 0.5) / len(s)
    return ranks


def solve(
    graph: DependencyGraph,
    scores: Scores,
    budget: Budget,
    *,
    criterion: str,
    compensation: Compensation = Compensation.NONE,
) -> PruningPlan:
    """The plan that removes the fewest lowest-scored channels within the budget.

    With carrier compensation, every pruned group keeps one more channel per equal part, which will
    carry the constants of the removed ones; their cost is inside the budget. Raises `PlanError`
    when the budget cannot be met; the message says how far it can be and, if the rounding alone is
    in the way, which finer one would do.
    """
    if not graph.prunable and min(budget.limits.values()) < 1:
        raise PlanError(f"no channels can be removed: {_why_none(graph)}")
    carriers = compensation is Compensation.CARRIER
    queue = _Queue(graph, scores, budget, carriers)
    dense = queue.cost(0)
    if not _within(queue.cost(queue.length), budget, dense):
        problem = _unreachable(queue, budget, dense)
        finer = coarsest(graph, budget, compensation=compensation)
        if finer is not None and finer.multiple_of < budget.multiple_of:
            counts = f"multiples of {finer.multiple_of}" if finer.multiple_of > 1 else "any counts"
            problem += f": {counts} would fit"
        raise PlanError(problem)
    low, high = 0, queue.length
    while low < high:
        middle = (low + high) // 2
        fits = _within(queue.cost(middle), budget, dense)
        low, high = (low, middle) if fits else (middle + 1, high)
    keep, carried = queue.keep(high)
    return PruningPlan(
        graph_digest=graph.digest,
        criterion=criterion,
        budget=budget,
        keep=keep,
        compensation=compensation,
        carriers=carried,
    )


def coarsest(
    graph: DependencyGraph, budget: Budget, *, compensation: Compensation = Compensation.NONE
) -> Budget | None:
    """The budget with the coarsest of `ROUNDINGS` that lets it be met; None if it cannot be."""
    # How far a budget reaches does not depend on the scores.
    scores = {group.id: np.zeros(group.size) for group in graph.prunable}
    for multiple_of in ROUNDINGS:
        rounded = replace(budget, multiple_of=multiple_of)
        queue = _Queue(graph, scores, rounded, compensation is Compensation.CARRIER)
        if _within(queue.cost(queue.length), rounded, queue.cost(0)):
            return rounded
    return None


class _Queue:
    """The order in which channels go, and what each group keeps after the first so many."""

    def __init__(
        self, graph: DependencyGraph, scores: Scores, budget: Budget, carriers: bool
    ) -> None:
        self.graph = graph
        self.meter = Meter(graph)
        self.groups = graph.prunable
        self.carriers = carriers
        for group in self.groups:
            if not np.isfinite(scores[group.id]).all():
                raise PlanError(f"the scores of {named(group)} are not finite")
        group_ids = np.concatenate(
            [np.full(g.size, g.id) for g in self.groups] or [np.zeros(0, dtype=np.int64)]
        )
        score = np.concatenate([scores[g.id] for g in self.groups] or [np.zeros(0)])
        number = np.concatenate([np.arange(g.size) for g in self.groups] or [group_ids])
        self.order = group_ids[np.lexsort((number, group_ids, score))]
        self.length = len(self.order)
        self.count = len(graph.groups)
        # Within each equal part: best channels first, the lower number first among equals.
        self.best = {g.id: _best_first(g, scores[g.id]) for g in self.groups}
        self.floor = {g.id: _floor(g, budget) for g in self.groups}
        for group_id in _uneven(graph, budget.multiple_of):
            self.floor[group_id] = graph.groups[group_id].size
        self.step = {g.id: _step(g, budget) for g in self.groups}

    def keep(self, removed: int) -> tuple[dict[int, KeepIndices], dict[int, KeepIndices]]:
        """Kept channels and, of these, the carriers, once the queue's first `removed` are gone."""
        gone = np.bincount(self.order[:removed], minlength=self.count)
        keep, carried = {}, {}
        for group in self.groups:
            wanted = max(group.size - int(gone[group.id]), self.floor[group.id])
            each = self._per_part(group, wanted)
            best = self.best[group.id]
            numbers = best[:, :each]
            if self.carriers and each < group.part_size:
                # The lowest-scored channel carries: its own content is lost like any removed one's.
                numbers = np.concatenate([best[:, : each - 1], best[:, -1:]], axis=1)
                carried[group.id] = tuple(sorted(best[:, -1].tolist()))
            keep[group.id] = tuple(sorted(numbers.ravel().tolist()))
        return keep, carried

    def cost(self, removed: int) -> Remaining:
        """What the network then costs."""
        return self.meter.remaining(self.graph.kept(self.keep(removed)[0]))

    def _per_part(self, group: ChannelGroup, wanted: int) -> int:
        """Channels that each equal part keeps so that the group keeps at least `wanted`."""
        each = math.ceil(wanted / group.equal_parts)
        if self.carriers and each < group.part_size:
            each += 1
        step = self.step[group.id]
        return min(math.ceil(each / step) * step, group.part_size)


def _best_first(group: ChannelGroup, scores: NDArray[np.float64]) -> NDArray[np.int64]:
    """Channel numbers, (parts, part size), each row by falling score."""
    table = scores.reshape(group.equal_parts, -1)
    # Reversed, so that of equal scores the lower number is the worse: the queue's order.
    order = np.argsort(table, axis=1, kind="stable")[:, ::-1]
    return order + np.arange(group.equal_parts)[:, None] * group.part_size


def _floor(group: ChannelGroup, budget: Budget) -> int:
    uncut = math.ceil(group.size * (1 - budget.max_layer_cut) - 1e-9)
    return min(group.size, max(budget.min_channels, uncut, 1))


def _uneven(graph: DependencyGraph, multiple_of: int) -> set[int]:
    """Groups to leave whole: beside them, a producer has filters that make no multiple."""
    beside: dict[str, dict[int, int]] = {}
    for group in graph.groups:
        for member in group.producers:
            beside.setdefault(member.node, {})[group.id] = len(member.positions)
    return {
        group_id
        for counts in beside.values()
        for group_id in counts
        if graph.groups[group_id].frozen_because is None
        and any(n % multiple_of for other, n in counts.items() if other != group_id)
    }


def _step(group: ChannelGroup, budget: Budget) -> int:
    """Channels per equal part that make every producer's filter count a multiple."""
    step = 1
    for member in group.producers:
        # Of a producer that emits each channel several times, fewer channels make a multiple.
        times = len(member.positions) // group.size
        step = math.lcm(step, budget.multiple_of // math.gcd(budget.multiple_of, times))
    return step // math.gcd(step, group.equal_parts)


def _within(slim: Remaining, budget: Budget, dense: Remaining) -> bool:
    return all(
        MEASURES[name](slim) <= share * MEASURES[name](dense)
        for name, share in budget.limits.items()
    )


def _why_none(graph: DependencyGraph) -> str:
    reasons = sorted({group.frozen_because for group in graph.groups if group.frozen_because})
    if not reasons:
        return "no layer has a kernel of trained numbers and an operator that is known"
    return f"all are frozen ({', '.join(reasons[:3])}{', ...' if len(reasons) > 3 else ''})"


def _unreachable(queue: _Queue, budget: Budget, dense: Remaining) -> str:
    smallest = queue.cost(queue.length)
    parts = []
    for name, share in budget.limits.items():
        least = MEASURES[name](smallest)
        reached = least / MEASURES[name](dense)
        if reached > share:
            # Rounded up, so that the number can be typed back.
            typed = math.ceil(1e6 * reached) / 1e6
            parts.append(
                f"keep_{name}={share:g}: the smallest reachable is {typed:.6f} ({least:,})"
            )
    return (
        f"the budget cannot be met: {'; '.join(parts)} (with min_channels={budget.min_channels}, "
        f"multiple_of={budget.multiple_of}, max_layer_cut={budget.max_layer_cut:g})"
    )
