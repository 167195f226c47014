"""From scores and a budget to a plan.

All prunable channels stand in one queue, lowest score first; ties break by group, then channel. The
plan removes the shortest beginning of the queue with which every limit holds. A group's floor (its
fewest channels), its equal parts and the rounding turn "so many of the queue" into a count per
group that never rises with the queue's position, and a group always keeps its best channels. So the
cost falls monotonically along the queue, and bisection on the static cost model is exact.

Time does not: fewer channels that fit an engine's blocks badly may take longer. Where it is limited
the queue is walked from its beginning, and groups then get back what fits beside the others.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from yoloprune.errors import PlanError
from yoloprune.pruning.budget import Budget
from yoloprune.pruning.choices import Compensation, Scope
from yoloprune.pruning.clock import Clock
from yoloprune.pruning.groups import ChannelGroup, DependencyGraph, named
from yoloprune.pruning.measures import MEASURES, UNEVEN, Meter, Remaining
from yoloprune.pruning.plan import KeepIndices, PruningPlan

Scores = Mapping[int, NDArray[np.float64]]
"""Importance of each channel of each prunable group, by group id."""


class Solver(Protocol):
    """What makes a plan of scores and a budget; raises `PlanError` when it cannot be met."""

    def __call__(
        self,
        graph: DependencyGraph,
        scores: Scores,
        budget: Budget,
        *,
        criterion: str,
        compensation: Compensation,
    ) -> PruningPlan:
        """The plan."""


ROUNDINGS = (8, 4, 2, 1)
"""What channel counts are rounded to, coarsest first, where nobody says.

Blocked convolutions (ONNX Runtime, ncnn) are slow with counts that make no multiple of 8.
"""

TIMED_ROUNDINGS = (16, *ROUNDINGS)
"""What channel counts are rounded to where time is limited, coarsest first: the one that lets the
most stay is found by its time."""

STATES = 512
"""Positions of the queue at which a time is looked at."""

NOTHING: Mapping[int, int] = MappingProxyType({})

LEARNED = 6
"""Positions of the queue, beside the first, at which layers are measured before the walk."""


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
    clock: Clock | None = None,
) -> PruningPlan:
    """The plan that removes the fewest lowest-scored channels within the budget.

    With carrier compensation, every pruned group keeps one more channel per equal part, which will
    carry the constants of the removed ones; their cost is inside the budget. A budget in time
    needs a `clock` of this network. Raises `PlanError`
    when the budget cannot be met; the message says how far it can be and, if the rounding alone is
    in the way, which finer one would do.
    """
    if not graph.prunable and min(budget.limits.values(), default=1) < 1:
        raise PlanError(f"no channels can be removed: {_why_none(graph)}")
    if UNEVEN & budget.limits.keys() and clock is None:
        raise PlanError("a budget in time needs timings of the network's layers")
    queue = _Queue(graph, scores, budget, compensation is Compensation.CARRIER, clock)
    found = _evenly(queue) if clock is None else _timed(queue)
    if found is None:
        problem = _unreachable(queue)
        finer = None if clock else coarsest(graph, budget, compensation=compensation)
        if finer is not None and finer.multiple_of < budget.multiple_of:
            counts = f"multiples of {finer.multiple_of}" if finer.multiple_of > 1 else "any counts"
            problem += f": {counts} would fit"
        raise PlanError(problem)
    keep, carried = queue.keep(*found)
    return PruningPlan(
        graph_digest=graph.digest,
        criterion=criterion,
        budget=budget,
        keep=keep,
        compensation=compensation,
        carriers=carried,
    )


def solve_timed(
    graph: DependencyGraph,
    scores: Scores,
    budget: Budget,
    *,
    criterion: str,
    compensation: Compensation = Compensation.NONE,
    clock: Clock,
) -> PruningPlan:
    """The plan of the rounding with which the most stays, by score; raises what `solve` raises.

    Finer roundings are tried for as long as they let more stay.
    """
    best: PruningPlan | None = None
    problem: PlanError | None = None
    most = -math.inf
    for multiple_of in TIMED_ROUNDINGS:
        rounded = replace(budget, multiple_of=multiple_of)
        try:
            plan = solve(
                graph,
                scores,
                rounded,
                criterion=criterion,
                compensation=compensation,
                clock=clock,
            )
        except PlanError as error:
            problem = error
            continue
        stays = sum(float(scores[i][list(kept)].sum()) for i, kept in plan.keep.items())
        if stays <= most:
            break
        best, most = plan, stays
    if best is None:
        assert problem is not None
        raise problem
    return best


def _evenly(queue: "_Queue") -> tuple[int, Mapping[int, int]] | None:
    """The shortest beginning of the queue that meets limits which never rise along it."""
    if not queue.fits(queue.length):
        return None
    low, high = 0, queue.length
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if queue.fits(middle) else (middle + 1, high)
    return high, {}


def _timed(queue: "_Queue") -> tuple[int, Mapping[int, int]] | None:
    """The shortest beginning, of `STATES`, that meets the limits, and what groups get back of it.

    Layers are estimated from those that were measured here and there along the queue, and measured
    where the budget seems to be met.
    """
    for number in range(LEARNED + 1):
        queue.learn(queue.length * number // LEARNED)
    for removed in queue.states:
        if queue.surely_fits(removed):
            return removed, _given_back(queue, removed)
    return None


def _given_back(queue: "_Queue", removed: int) -> Mapping[int, int]:
    """Steps that groups keep beyond what a beginning of the queue leaves them, within the limits.

    The group whose removed channels end latest in the queue comes first, and none could in the end
    have another step.
    """
    more: dict[int, int] = {}
    groups = list(dict.fromkeys(queue.order[:removed][::-1].tolist()))
    waiting = groups
    while waiting:
        group_id = waiting[0]
        tried = {**more, group_id: more.get(group_id, 0) + 1}
        wider = len(queue.keep(removed, tried)[0][group_id])
        if wider > len(queue.keep(removed, more)[0][group_id]) and queue.surely_fits(
            removed, tried
        ):
            more, waiting = tried, groups
        else:
            waiting = waiting[1:]
    return more


def coarsest(
    graph: DependencyGraph, budget: Budget, *, compensation: Compensation = Compensation.NONE
) -> Budget | None:
    """The budget with the coarsest of `ROUNDINGS` that lets it be met; None if it cannot be."""
    # How far a budget reaches does not depend on the scores.
    scores = {group.id: np.zeros(group.size) for group in graph.prunable}
    for multiple_of in ROUNDINGS:
        rounded = replace(budget, multiple_of=multiple_of)
        queue = _Queue(graph, scores, rounded, compensation is Compensation.CARRIER)
        if queue.fits(queue.length):
            return rounded
    return None


class _Queue:
    """The order in which channels go, and what each group keeps after the first so many."""

    def __init__(
        self,
        graph: DependencyGraph,
        scores: Scores,
        budget: Budget,
        carriers: bool,
        clock: Clock | None = None,
    ) -> None:
        self.graph = graph
        self.budget = budget
        self.meter = Meter(graph, clock)
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
        self.dense = self.cost(0)

    @property
    def states(self) -> Sequence[int]:
        """Positions that are evenly spaced: all of them, unless they are too many."""
        parts = min(self.length, STATES)
        return [self.length * number // max(parts, 1) for number in range(parts + 1)]

    def keep(
        self, removed: int, more: Mapping[int, int] = NOTHING
    ) -> tuple[dict[int, KeepIndices], dict[int, KeepIndices]]:
        """Kept channels and, of these, the carriers, once the queue's first `removed` are gone.

        Groups keep so many steps `more` than that leaves them.
        """
        gone = np.bincount(self.order[:removed], minlength=self.count)
        keep, carried = {}, {}
        for group in self.groups:
            wanted = max(group.size - int(gone[group.id]), self.floor[group.id])
            each = self._per_part(group, wanted, more.get(group.id, 0))
            best = self.best[group.id]
            numbers = best[:, :each]
            if self.carriers and each < group.part_size:
                # The lowest-scored channel carries: its own content is lost like any removed one's.
                numbers = np.concatenate([best[:, : each - 1], best[:, -1:]], axis=1)
                carried[group.id] = tuple(sorted(best[:, -1].tolist()))
            keep[group.id] = tuple(sorted(numbers.ravel().tolist()))
        return keep, carried

    def cost(self, removed: int, more: Mapping[int, int] = NOTHING) -> Remaining:
        """What the network then costs."""
        return self.meter.remaining(self.graph.kept(self.keep(removed, more)[0]))

    def fits(self, removed: int, more: Mapping[int, int] = NOTHING) -> bool:
        """Whether every limit then holds."""
        slim = self.cost(removed, more)
        return all(
            MEASURES[name](slim) <= share * MEASURES[name](self.dense)
            for name, share in self.budget.limits.items()
        )

    def surely_fits(self, removed: int, more: Mapping[int, int] = NOTHING) -> bool:
        """Whether every limit then holds once the layers that are left are measured."""
        if not self.fits(removed, more):
            return False
        self.learn(removed, more)
        return self.fits(removed, more)

    def learn(self, removed: int, more: Mapping[int, int] = NOTHING) -> None:
        """Measure the layers that are then left, where that can be done."""
        if self.meter.clock is not None:
            self.meter.clock.learn(self.graph.kept(self.keep(removed, more)[0]))

    def _per_part(self, group: ChannelGroup, wanted: int, more: int) -> int:
        """Channels that each equal part keeps so that the group keeps at least `wanted`."""
        each = math.ceil(wanted / group.equal_parts)
        if self.carriers and each < group.part_size:
            each += 1
        step = self.step[group.id]
        return min((math.ceil(each / step) + more) * step, group.part_size)


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


def _why_none(graph: DependencyGraph) -> str:
    reasons = sorted({group.frozen_because for group in graph.groups if group.frozen_because})
    if not reasons:
        return "no layer has a kernel of trained numbers and an operator that is known"
    return f"all are frozen ({', '.join(reasons[:3])}{', ...' if len(reasons) > 3 else ''})"


def _unreachable(queue: _Queue) -> str:
    budget, dense = queue.budget, queue.dense
    ends = [queue.length] if queue.meter.clock is None else queue.states
    costs = [queue.cost(end) for end in ends]
    parts = []
    for name, share in budget.limits.items():
        least = min(map(MEASURES[name], costs))
        reached = least / MEASURES[name](dense)
        if reached > share:
            # Rounded up, so that the number can be typed back.
            typed = math.ceil(1e6 * reached) / 1e6
            shown = f"{least:,}" if isinstance(least, int) else f"{least:.3g}"
            parts.append(f"keep_{name}={share:g}: the smallest reachable is {typed:.6f} ({shown})")
    return (
        f"the budget cannot be met: {'; '.join(parts or ['all limits do not hold together'])} "
        f"(with min_channels={budget.min_channels}, "
        f"multiple_of={budget.multiple_of}, max_layer_cut={budget.max_layer_cut:g})"
    )
