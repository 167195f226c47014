"""Laws 5 and 6: budgets are met, monotonically, reproducibly, and no layer is left out."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import architectures
from tests.pruning.darknet import dependencies, slim_spec
from tests.random_networks import network_specs
from yoloprune.errors import PlanError
from yoloprune.frontends.darknet.cost import cost
from yoloprune.frontends.darknet.parser import parse_cfg
from yoloprune.frontends.darknet.spec import NetworkSpec
from yoloprune.frontends.darknet.zoo import yolov3, yolov3_tiny
from yoloprune.pruning.budget import Budget
from yoloprune.pruning.choices import Compensation, Scope
from yoloprune.pruning.groups import DependencyGraph
from yoloprune.pruning.measures import MEASURES, Meter, Remaining
from yoloprune.pruning.plan import PruningPlan, check_plan
from yoloprune.pruning.queue import Scores
from yoloprune.pruning.solve import coarsest, comparable, solve

TINY = yolov3_tiny(classes=1, width=0.25, size=(64, 64))


def random_scores(graph: DependencyGraph, seed: int = 0) -> Scores:
    generator = np.random.default_rng(seed)
    return {g.id: generator.random(g.size) * 10 ** generator.uniform(-3, 3) for g in graph.prunable}


def counted(graph: DependencyGraph, plan: PruningPlan) -> Remaining:
    return Meter(graph).remaining(graph.kept(plan.keep))


def solved(graph: DependencyGraph, budget: Budget, **options: object) -> PruningPlan:
    scores = comparable(random_scores(graph), Scope.GLOBAL)
    return solve(graph, scores, budget, criterion="test", **options)


@pytest.mark.parametrize("share", [0.9, 0.5, 0.3, 0.1])
@pytest.mark.parametrize("name", ["macs", "params", "channels"])
def test_a_budget_is_met_within_one_channel_step(name: str, share: float) -> None:
    spec = yolov3(classes=1)
    graph = dependencies(spec)
    plan = solved(graph, Budget(limits={name: share}))
    limit = share * getattr(cost(spec), name)
    reached = getattr(cost(slim_spec(spec, plan)), name)
    assert reached == MEASURES[name](counted(graph, plan))
    assert reached <= limit
    # Exactly: the channel that went last cannot come back without breaking the limit.
    scores = comparable(random_scores(graph), Scope.GLOBAL)
    removed = [
        (scores[g.id][n], g.id, n)
        for g in graph.prunable
        for n in set(range(g.size)) - set(plan.keep[g.id])
    ]
    _, group, number = max(removed)
    more = dict(plan.keep) | {group: tuple(sorted((*plan.keep[group], number)))}
    assert MEASURES[name](counted(graph, replace(plan, keep=more))) > limit


def test_all_limits_hold_together() -> None:
    graph = dependencies(TINY)
    budget = Budget(limits={"macs": 0.5, "params": 0.4, "channels": 0.8})
    dense, reached = cost(TINY), cost(slim_spec(TINY, solved(graph, budget)))
    assert reached.macs <= 0.5 * dense.macs
    assert reached.params <= 0.4 * dense.params
    assert reached.channels <= 0.8 * dense.channels


@settings(max_examples=40)
@given(
    spec=network_specs(),
    seed=st.integers(0, 2**16),
    multiple_of=st.sampled_from([1, 2, 4]),
    compensation=st.sampled_from([Compensation.NONE, Compensation.CARRIER]),
    scope=st.sampled_from(list(Scope)),
)
def test_cost_never_rises_as_the_budget_falls(
    spec: NetworkSpec, seed: int, multiple_of: int, compensation: Compensation, scope: Scope
) -> None:
    graph = dependencies(spec)
    scores = comparable(random_scores(graph, seed), scope)
    before = None
    for share in (1.0, 0.9, 0.8, 0.6, 0.4, 0.2):
        budget = Budget(limits={"macs": share}, multiple_of=multiple_of)
        try:
            plan = solve(graph, scores, budget, criterion="test", compensation=compensation)
        except PlanError:
            break
        check_plan(graph, plan)
        reached = cost(slim_spec(spec, plan))
        assert reached.macs <= share * cost(spec).macs
        if before is not None:
            assert reached.macs <= before.macs
            if multiple_of == 1:
                assert reached.params <= before.params
                assert reached.channels <= before.channels
        before = reached


@pytest.mark.parametrize("multiple_of", [2, 4, 8])
def test_a_large_step_of_one_group_leaves_no_budget_unused(multiple_of: int) -> None:
    graph = dependencies(yolov3_tiny(classes=1, width=0.5, size=(64, 64)))
    scores = comparable(random_scores(graph), Scope.GLOBAL)
    dense = Meter(graph).remaining(graph.kept({}))
    for share in (0.8, 0.6, 0.4):
        budget = Budget(limits={"macs": share}, multiple_of=multiple_of)
        plan = solve(graph, scores, budget, criterion="test")
        for group in graph.prunable:
            kept = plan.keep[group.id]
            if len(kept) < group.size:
                count = min(group.size, len(kept) + multiple_of)
                best = np.argsort(-scores[group.id], kind="stable")[:count]
                wider = {**plan.keep, group.id: tuple(sorted(best.tolist()))}
                macs = Meter(graph).remaining(graph.kept(wider)).macs
                assert macs > share * dense.macs, "another step would have fit"


def test_a_layer_that_scores_badly_everywhere_is_cut_to_its_floor_not_left_whole() -> None:
    graph = dependencies(TINY)
    scores = {g.id: np.ones(g.size) for g in graph.prunable}
    worst = graph.prunable[4]
    scores[worst.id] = np.zeros(worst.size)
    plan = solve(graph, scores, Budget(limits={"channels": 0.9}, min_channels=3), criterion="test")
    assert len(plan.keep[worst.id]) == 3


def test_no_group_falls_under_min_channels_or_loses_more_than_max_layer_cut() -> None:
    graph = dependencies(TINY)
    # One group scores so badly that without a floor it would go down to one channel.
    scores = {g.id: np.ones(g.size) for g in graph.prunable}
    worst = graph.prunable[4]
    scores[worst.id] = np.zeros(worst.size)

    def kept(**floor: float) -> dict[int, int]:
        plan = solve(graph, scores, Budget(limits={"channels": 0.7}, **floor), criterion="test")
        return {g.id: len(plan.keep[g.id]) for g in graph.prunable}

    assert kept()[worst.id] == 1
    assert kept(max_layer_cut=0.6)[worst.id] == math.ceil(0.4 * worst.size)
    assert all(kept(max_layer_cut=0.6)[g.id] >= 0.4 * g.size for g in graph.prunable)
    assert kept(min_channels=5)[worst.id] == 5
    assert all(kept(min_channels=5)[g.id] >= min(5, g.size) for g in graph.prunable)


@pytest.mark.parametrize("multiple_of", [8, 16])
def test_rounding_holds_for_every_pruned_layer(multiple_of: int) -> None:
    spec = yolov3(classes=1)
    plan = solved(dependencies(spec), Budget(limits={"macs": 0.3}, multiple_of=multiple_of))
    pairs = list(zip(spec.convs, slim_spec(spec, plan).convs, strict=True))
    assert all(after.filters % multiple_of == 0 for before, after in pairs if after != before)
    assert sum(after.filters < before.filters for before, after in pairs) > 60
    # Rounding to more channels than a layer has leaves the layer whole, and never at 0.
    narrow = yolov3_tiny(classes=1, width=0.25)
    plan = solved(dependencies(narrow), Budget(limits={"macs": 0.9}, multiple_of=8))
    assert all(conv.filters > 0 for conv in slim_spec(narrow, plan).convs)


@settings(max_examples=60)
@given(spec=network_specs(), seed=st.integers(0, 2**16), multiple_of=st.sampled_from([2, 4]))
def test_rounding_holds_on_any_network(spec: NetworkSpec, seed: int, multiple_of: int) -> None:
    graph = dependencies(spec)
    budget = Budget(limits={"macs": 0.7}, multiple_of=multiple_of)
    try:
        plan = solve(graph, random_scores(graph, seed), budget, criterion="test")
    except PlanError:
        return
    for before, after in zip(spec.convs, slim_spec(spec, plan).convs, strict=True):
        assert after.filters == before.filters or after.filters % multiple_of == 0


def test_a_layer_that_would_be_uneven_is_left_whole() -> None:
    # Conv 1 shares its first 32 filters with conv 0; its other 8 make no multiple of 16.
    spec = parse_cfg(
        "[net]\nheight=8\nwidth=8\nchannels=3\n"
        "[convolutional]\nfilters=32\nactivation=leaky\n"
        "[convolutional]\nfilters=40\nactivation=leaky\n"
        "[shortcut]\nfrom=-2\nactivation=linear\n"
        "[convolutional]\nfilters=64\nactivation=leaky\n"
        "[convolutional]\nfilters=2\nactivation=linear\n"
    )
    plan = solved(dependencies(spec), Budget(limits={"channels": 0.8}, multiple_of=16))
    assert [conv.filters for conv in slim_spec(spec, plan).convs] == [32, 40, 32, 2]


def test_equal_parts_stay_equal_also_when_rounded() -> None:
    graph = dependencies(architectures.yolov4_tiny(classes=1))
    plan = solved(graph, Budget(limits={"macs": 0.5}, multiple_of=8))
    check_plan(graph, plan)
    for group in graph.prunable:
        if group.equal_parts == 2 and len(plan.keep[group.id]) < group.size:
            assert len(plan.keep[group.id]) % 8 == 0


def test_an_impossible_budget_says_how_far_it_can_go() -> None:
    graph = dependencies(TINY)
    with pytest.raises(PlanError, match=r"smallest reachable is 0\.\d+ \([\d,]+\)") as caught:
        solved(graph, Budget(limits={"macs": 0.001, "params": 0.9}, min_channels=4))
    # The limit that can be met is not blamed.
    assert "params" not in str(caught.value)
    least = float(str(caught.value).split("reachable is ")[1].split(" ")[0])
    # The number can be typed back.
    assert solved(graph, Budget(limits={"macs": least}, min_channels=4))
    with pytest.raises(PlanError):
        solved(graph, Budget(limits={"macs": least - 1e-5}, min_channels=4))


def test_ties_break_by_group_then_channel() -> None:
    graph = dependencies(TINY)
    scores = {g.id: np.ones(g.size) for g in graph.prunable}
    plan = solve(graph, scores, Budget(limits={"channels": 0.99}), criterion="test")
    first = graph.prunable[0]
    removed = set(range(first.size)) - set(plan.keep[first.id])
    assert removed == set(range(len(removed)))
    assert all(len(plan.keep[g.id]) == g.size for g in graph.prunable[2:])
    assert plan == solve(graph, scores, Budget(limits={"channels": 0.99}), criterion="test")


def test_the_same_share_of_each_group_goes_with_layer_scope() -> None:
    graph = dependencies(yolov3(classes=1))
    scores = comparable(random_scores(graph), Scope.LAYER)
    plan = solve(graph, scores, Budget(limits={"macs": 0.25}), criterion="test")
    shares = [len(plan.keep[g.id]) / g.size for g in graph.prunable]
    assert max(shares) - min(shares) < 0.04


def test_carriers_are_paid_for_by_the_budget() -> None:
    graph = dependencies(TINY)
    budget = Budget(limits={"macs": 0.4})
    plan = solved(graph, budget, compensation=Compensation.CARRIER)
    assert cost(slim_spec(TINY, plan)).macs <= 0.4 * cost(TINY).macs
    cut = [g.id for g in graph.prunable if len(plan.keep[g.id]) < g.size]
    assert set(plan.carriers) >= set(cut)
    assert all(len(plan.carriers[i]) == 1 for i in cut)


def test_the_coarsest_rounding_that_lets_the_budget_be_met() -> None:
    graph = dependencies(TINY)
    budget = Budget(limits={"macs": 0.5}, min_channels=3)
    for share, rounding in ((0.5, 8), (0.15, 4), (0.08, 2), (0.03, 1)):
        found = coarsest(graph, Budget(limits={"macs": share}))
        assert found == Budget(limits={"macs": share}, multiple_of=rounding)
    assert coarsest(graph, budget) == replace(budget, multiple_of=8)
    assert coarsest(graph, Budget(limits={"macs": 1e-6})) is None


@pytest.mark.parametrize(
    ("rounding", "share", "words"),
    [
        (8, 0.15, "multiples of 4 would fit"),
        (8, 0.08, "multiples of 2 would fit"),
        (4, 0.08, "multiples of 2 would fit"),
        (16, 0.03, "any counts would fit"),
        (8, 1e-6, "max_layer_cut=1)"),
        (1, 1e-6, "max_layer_cut=1)"),
    ],
)
def test_a_finer_rounding_that_would_do_is_named(rounding: int, share: float, words: str) -> None:
    graph = dependencies(TINY)
    with pytest.raises(PlanError, match="the smallest reachable is") as caught:
        solved(graph, Budget(limits={"macs": share}, multiple_of=rounding))
    assert str(caught.value).endswith(words)
    named = [n for n in (4, 2) if f"multiples of {n} " in words] or [1]
    if share > 1e-3:
        assert solved(graph, Budget(limits={"macs": share}, multiple_of=named[0]))
        with pytest.raises(PlanError):
            solved(graph, Budget(limits={"macs": share}, multiple_of=2 * named[0]))


def test_scores_that_are_not_finite_are_refused() -> None:
    graph = dependencies(TINY)
    scores = dict(random_scores(graph))
    scores[graph.prunable[2].id] = np.full(graph.prunable[2].size, np.nan)
    with pytest.raises(PlanError, match="not finite"):
        solve(graph, scores, Budget(limits={"macs": 0.5}), criterion="test")
