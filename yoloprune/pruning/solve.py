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
from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from yoloprune.errors import PlanError
from yoloprune.pruning.budget import Budget
from yoloprune.pruning.choices import Compensation, Scope
from yoloprune.pruning.clock import Clock
from yoloprune.pruning.groups import DependencyGraph
from yoloprune.pruning.measures import MEASURES, UNEVEN
from yoloprune.pruning.plan import PruningPlan
from yoloprune.pruning.queue import Place, Queue, Scores


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


USUAL_MULTIPLE = 8
"""What channel counts are rounded to, or finer, where no engine is known that they should suit.

Blocked convolutions (ONNX Runtime, ncnn) are slow with counts that make no multiple of 8.
"""

TIMED_ROUNDINGS = (16, 8, 4, 2, 1)
"""What channel counts are rounded to where time is limited, coarsest first: the one that lets the
most stay is found by its time."""

LEARNED = 6
"""Positions of the queue, beside the first, at which layers are measured before the walk."""


CORRECTIONS, CLOSE = 4, 0.03
"""Plans that are made at most, each after the one before it was timed as a whole, and how near the
prediction must come."""


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
    needs a `clock` of this network. Raises `PlanError` when the budget cannot be met; the message
    says how far it can be and, if the rounding alone is in the way, which finer one would do.
    """
    if not graph.prunable and min(budget.limits.values(), default=1) < 1:
        raise PlanError(f"no channels can be removed: {_why_none(graph)}")
    if UNEVEN & budget.limits.keys() and clock is None:
        raise PlanError("a budget in time needs timings of the network's layers")
    queue = Queue(graph, scores, budget, compensation is Compensation.CARRIER, clock)
    found = _evenly(queue) if clock is None else _timed(queue)
    if found is None:
        problem = _unreachable(queue)
        finer = None if clock else coarsest(graph, budget, compensation=compensation)
        if finer is not None and finer.multiple_of < budget.multiple_of:
            counts = f"multiples of {finer.multiple_of}" if finer.multiple_of > 1 else "any counts"
            problem += f": {counts} would fit"
        raise PlanError(problem)
    keep, carried = queue.keep(found)
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
    roundings: Sequence[int] = TIMED_ROUNDINGS,
    suited: int | None = None,
) -> PruningPlan:
    """The plan of the rounding with which the most stays, by score; raises what `solve` raises.

    Finer roundings are tried for as long as they let more stay, but none finer than what is known
    to be `suited`, if that meets the budget. Where the clock can time whole networks, the plan's is
    timed, and another plan made for as long as the prediction was off or the limit is not met; of
    these it is the one that is nearest to the limit, within it if any is.
    """
    limit = budget.limits["ms"] * clock.ms(graph.kept({}))
    tried: list[tuple[bool, float, PruningPlan]] = []
    for _ in range(CORRECTIONS):
        plan = _best_rounded(
            graph, scores, budget, criterion, compensation, clock, roundings, suited
        )
        kept = graph.kept(plan.keep)
        predicted, found = clock.ms(kept), clock.observe(kept)
        if found is None:
            return plan
        tried.append((found > limit, abs(found - limit), plan))
        if found <= limit and abs(found - predicted) <= CLOSE * predicted:
            break
    return min(tried, key=lambda each: each[:2])[2]


def _best_rounded(
    graph: DependencyGraph,
    scores: Scores,
    budget: Budget,
    criterion: str,
    compensation: Compensation,
    clock: Clock,
    roundings: Sequence[int],
    suited: int | None,
) -> PruningPlan:
    best: PruningPlan | None = None
    problem: PlanError | None = None
    most = -math.inf
    for multiple_of in roundings:
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
        if multiple_of == suited:
            break
    if best is None:
        assert problem is not None
        raise problem
    return best


def _evenly(queue: Queue) -> Place | None:
    """The first place that meets limits which never rise along the queue.

    Where counts are rounded, a group's next step may be a large one: it is held there, and what is
    to spare goes to the others, as the queue would have it. So the cost still never rises as the
    budget falls.
    """
    if not queue.fits(Place(removed=queue.length)):
        return None
    found = queue.shortest()
    while queue.budget.multiple_of > 1 and found.removed:
        last = int(queue.order[found.removed - 1])
        found = queue.shortest({**found.held, last: found.removed})
    return found


def _timed(queue: Queue) -> Place | None:
    """The first place, of `STATES`, that meets the limits, with what groups get back there.

    Where whole networks can be timed, the narrowest is: where even that is beyond the limits, there
    is none. Layers are estimated from those that were measured here and there along the queue, and
    measured where the budget seems to be met.
    """
    end = Place(removed=queue.length)
    queue.learn(end)
    if queue.observe(end) and not queue.fits(end):
        return None
    for number in range(LEARNED):
        queue.learn(Place(removed=queue.length * number // LEARNED))
    for removed in queue.states:
        if queue.surely_fits(Place(removed=removed)):
            return _given_back(queue, removed)
    return None


def _given_back(queue: Queue, removed: int) -> Place:
    """A place at which groups keep steps beyond what the queue leaves them, within the limits.

    The group whose removed channels end latest in the queue comes first, and none could in the end
    have another step.
    """
    found = Place(removed=removed)
    groups = list(dict.fromkeys(queue.order[:removed][::-1].tolist()))
    waiting = groups
    while waiting:
        group_id = waiting[0]
        more = {**found.more, group_id: found.more.get(group_id, 0) + 1}
        tried = replace(found, more=more)
        wider = len(queue.keep(tried)[0][group_id])
        if wider > len(queue.keep(found)[0][group_id]) and queue.surely_fits(tried):
            found, waiting = tried, groups
        else:
            waiting = waiting[1:]
    return found


def coarsest(
    graph: DependencyGraph,
    budget: Budget,
    suited: int = USUAL_MULTIPLE,
    *,
    compensation: Compensation = Compensation.NONE,
) -> Budget | None:
    """The budget in multiples of `suited`, a power of 2, or of the next half that lets it be met.

    None if it cannot be.
    """
    # How far a budget reaches does not depend on the scores.
    scores = {group.id: np.zeros(group.size) for group in graph.prunable}
    for multiple_of in (suited >> half for half in range(suited.bit_length())):
        rounded = replace(budget, multiple_of=multiple_of)
        queue = Queue(graph, scores, rounded, compensation is Compensation.CARRIER)
        if queue.fits(Place(removed=queue.length)):
            return rounded
    return None


def _why_none(graph: DependencyGraph) -> str:
    reasons = sorted({group.frozen_because for group in graph.groups if group.frozen_because})
    if not reasons:
        return "no layer has a kernel of trained numbers and an operator that is known"
    return f"all are frozen ({', '.join(reasons[:3])}{', ...' if len(reasons) > 3 else ''})"


def _unreachable(queue: Queue) -> str:
    budget, dense = queue.budget, queue.dense
    clock, end = queue.meter.clock, Place(removed=queue.length)
    # The end is the narrowest, but by times of layers alone not surely the fastest.
    known = clock is None or queue.observe(end)
    places = [end] if known else [Place(removed=removed) for removed in queue.states]
    costs = [queue.cost(place) for place in places]
    parts = []
    for name, share in budget.limits.items():
        least = min(map(MEASURES[name], costs))
        reached = least / MEASURES[name](dense)
        if reached > share:
            # Rounded up, so that the number can be typed back.
            typed = math.ceil(1e6 * reached) / 1e6
            shown = f"{least:,}" if isinstance(least, int) else f"{least:.3g} ms"
            parts.append(f"keep_{name}={share:g}: the smallest reachable is {typed:.6f} ({shown})")
    return (
        f"the budget cannot be met: {'; '.join(parts or ['all limits do not hold together'])} "
        f"(with min_channels={budget.min_channels}, "
        f"multiple_of={budget.multiple_of}, max_layer_cut={budget.max_layer_cut:g})"
        + ("" if clock is None else "; fewer blocks, with `depth`, or smaller images take less")
    )
