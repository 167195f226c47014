"""The order in which channels go, and what is left of a network along it."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from yoloprune.errors import PlanError
from yoloprune.pruning.budget import Budget
from yoloprune.pruning.clock import Clock
from yoloprune.pruning.groups import ChannelGroup, DependencyGraph, named
from yoloprune.pruning.measures import MEASURES, Meter, Remaining
from yoloprune.pruning.plan import KeepIndices

STATES = 512
"""Positions of the queue at which a time is looked at."""

Scores = Mapping[int, NDArray[np.float64]]
"""Importance of each channel of each prunable group, by group id."""

NOTHING: Mapping[int, int] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a network is on its way along the queue: the first `removed` channels are gone.

    By group: steps that it keeps `more` than that leaves it, and the place at which it is `held`.
    """

    removed: int
    more: Mapping[int, int] = field(default_factory=dict)
    held: Mapping[int, int] = field(default_factory=dict)


class Queue:
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
        self.dense = self.cost(Place(removed=0))

    @property
    def states(self) -> Sequence[int]:
        """Positions that are evenly spaced: all of them, unless they are too many."""
        parts = min(self.length, STATES)
        return [self.length * number // max(parts, 1) for number in range(parts + 1)]

    def keep(self, at: Place) -> tuple[dict[int, KeepIndices], dict[int, KeepIndices]]:
        """Kept channels and, of these, the carriers, at a place of the queue."""
        gone = np.bincount(self.order[: at.removed], minlength=self.count)
        for group_id, held in at.held.items():
            gone[group_id] = np.count_nonzero(self.order[:held] == group_id)
        keep, carried = {}, {}
        for group in self.groups:
            wanted = max(group.size - int(gone[group.id]), self.floor[group.id])
            each = self._per_part(group, wanted, at.more.get(group.id, 0))
            best = self.best[group.id]
            numbers = best[:, :each]
            if self.carriers and each < group.part_size:
                # The lowest-scored channel carries: its own content is lost like any removed one's.
                numbers = np.concatenate([best[:, : each - 1], best[:, -1:]], axis=1)
                carried[group.id] = tuple(sorted(best[:, -1].tolist()))
            keep[group.id] = tuple(sorted(numbers.ravel().tolist()))
        return keep, carried

    def cost(self, at: Place) -> Remaining:
        """What the network costs there."""
        return self.meter.remaining(self.graph.kept(self.keep(at)[0]))

    def fits(self, at: Place) -> bool:
        """Whether every limit holds there."""
        slim = self.cost(at)
        return all(
            MEASURES[name](slim) <= share * MEASURES[name](self.dense)
            for name, share in self.budget.limits.items()
        )

    def surely_fits(self, at: Place) -> bool:
        """Whether every limit holds there once the layers that are left are measured."""
        if not self.fits(at):
            return False
        self.learn(at)
        return self.fits(at)

    def learn(self, at: Place) -> None:
        """Measure the layers that are left there, where that can be done."""
        if self.meter.clock is not None:
            self.meter.clock.learn(self.graph.kept(self.keep(at)[0]))

    def observe(self, at: Place) -> bool:
        """Time what is left there as a whole; whether that can be done."""
        clock = self.meter.clock
        return clock is not None and clock.observe(self.graph.kept(self.keep(at)[0])) is not None

    def shortest(self, held: Mapping[int, int] = NOTHING) -> Place:
        """The first place at which all limits hold, none of which rises along the queue."""
        low, high = 0, self.length
        while low < high:
            middle = (low + high) // 2
            if self.fits(Place(removed=middle, held=held)):
                high = middle
            else:
                low = middle + 1
        return Place(removed=high, held=held)

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
