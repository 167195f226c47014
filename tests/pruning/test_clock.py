"""Budgets in time, met by tables whose times rise and fall as channels go."""

from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from tests.pruning.darknet import dependencies, slim_spec
from yoloprune.errors import PlanError
from yoloprune.frontends.darknet.parser import parse_cfg
from yoloprune.frontends.darknet.spec import NetworkSpec
from yoloprune.frontends.darknet.zoo import yolov3_tiny
from yoloprune.pruning.budget import Budget
from yoloprune.pruning.clock import Clock, listed_layers, timed_layers
from yoloprune.pruning.groups import DependencyGraph
from yoloprune.pruning.layer_times import Layer, Timings, read_timings, write_timings
from yoloprune.pruning.plan import PruningPlan
from yoloprune.pruning.queue import Scores
from yoloprune.pruning.solve import solve, solve_timed

FIRST, SECOND = 9, 7
SPEC = parse_cfg(
    "[net]\nheight=8\nwidth=8\nchannels=3\n"
    f"[convolutional]\nbatch_normalize=1\nfilters={FIRST}\nsize=3\npad=1\nactivation=leaky\n"
    f"[convolutional]\nfilters={SECOND}\nsize=1\nactivation=leaky\n"
    "[convolutional]\nfilters=2\nsize=5\npad=1\nactivation=linear\n"
)
NETWORK_MS = 40.0


def every_layer(graph: DependencyGraph, seed: int) -> dict[Layer, float]:
    """A time of each layer with every count of channels, up and down at random."""
    generator = np.random.default_rng(seed)
    first, second, third = (layer for _, layer in timed_layers(graph))
    layers = {**_counts(first, (3,), range(1, FIRST + 1))}
    layers |= _counts(second, range(1, FIRST + 1), range(1, SECOND + 1))
    layers |= _counts(third, range(1, SECOND + 1), (2,))
    return {layer: float(generator.uniform(1, 9)) for layer in layers}


def _counts(layer: Layer, inputs: object, outputs: object) -> dict[Layer, None]:
    return {replace(layer, inputs=a, outputs=b): None for a in inputs for b in outputs}


def scores_of(graph: DependencyGraph, seed: int) -> Scores:
    generator = np.random.default_rng(seed)
    return {g.id: generator.random(g.size) for g in graph.prunable}


def taken(spec: NetworkSpec, table: Mapping[Layer, float]) -> float:
    """What the layers of a network take, by the counts in its sections alone."""
    by_counts = {(k.kernel, k.height, k.inputs, k.outputs): ms for k, ms in table.items()}
    inputs, total = spec.input_shape[0], 0.0
    for conv in spec.convs:
        total += by_counts[(conv.size, conv.size), 8, inputs, conv.filters]
        inputs = conv.filters
    return total


def plan_of(graph: DependencyGraph, keep: Mapping[int, tuple[int, ...]]) -> PruningPlan:
    budget = Budget(limits={"ms": 1.0})
    return PruningPlan(graph_digest=graph.digest, criterion="x", budget=budget, keep=keep)


@pytest.mark.parametrize("share", [0.9, 0.7, 0.5])
@pytest.mark.parametrize("seed", range(6))
def test_the_shortest_beginning_that_meets_the_time_is_found(
    seed: int, share: float, tmp_path: Path
) -> None:
    graph, scores = dependencies(SPEC), scores_of(dependencies(SPEC), seed)
    write_timings(tmp_path / "t.csv", every_layer(graph, seed))
    timings = read_timings(tmp_path / "t.csv")
    # Every beginning of the queue, by counting alone.
    queue = sorted((s, g, n) for g, own in scores.items() for n, s in enumerate(own))
    times, kept = [], []
    for removed in range(len(queue) + 1):
        gone = {(g, n) for _, g, n in queue[:removed]}
        keep = {}
        for group, own in scores.items():
            left = tuple(n for n in range(len(own)) if (group, n) not in gone)
            keep[group] = left or (int(np.argmax(own)),)
        kept.append(keep)
        times.append(taken(slim_spec(SPEC, plan_of(graph, keep)), timings.layers))
    limit = share * times[0]
    budget = Budget(limits={"ms": share})
    clock = Clock(graph, timings)
    shortest = next((n for n, ms in enumerate(times) if ms <= limit), None)
    if shortest is None:
        with pytest.raises(PlanError, match="smallest reachable is") as caught:
            solve(graph, scores, budget, criterion="x", clock=clock)
        least = float(str(caught.value).split("reachable is ")[1].split(" ")[0])
        assert least == pytest.approx(min(times) / times[0], abs=1e-5)
        return
    plan = solve(graph, scores, budget, criterion="x", clock=clock)
    assert taken(slim_spec(SPEC, plan), timings.layers) <= limit
    # What groups got back is theirs; nothing else differs from the shortest beginning.
    assert all(set(kept[shortest][g]) <= set(plan.keep[g]) for g in scores)
    # No group could have one more.
    for group, own in scores.items():
        gone = set(range(len(own))) - set(plan.keep[group])
        if gone:
            best = max(gone, key=lambda n, own=own: own[n])
            wider = {**plan.keep, group: tuple(sorted((*plan.keep[group], best)))}
            ms = taken(slim_spec(SPEC, plan_of(graph, wider)), timings.layers)
            assert ms > limit
    assert clock.ms(graph.kept(plan.keep)) == pytest.approx(
        taken(slim_spec(SPEC, plan), timings.layers)
    )


def test_the_cases_above_are_not_monotone() -> None:
    graph = dependencies(SPEC)
    rises = 0
    for seed in range(6):
        timings = Timings(layers=every_layer(graph, seed))
        clock, ids = Clock(graph, timings), graph.prunable[0].id
        times = [clock.ms(graph.kept({ids: tuple(range(n))})) for n in range(FIRST, 0, -1)]
        rises += sum(after > before for before, after in pairwise(times))
    assert rises > 6


def test_what_the_layers_leave_of_the_network_counts_too() -> None:
    graph = dependencies(SPEC)
    layers = dict.fromkeys(every_layer(graph, 0), 5.0)
    everything = graph.kept({})
    assert Clock(graph, Timings(layers=layers)).ms(everything) == 15
    # Nothing but convolutions and activations is in it: what is left stays as it is.
    clock = Clock(graph, Timings(layers=layers, network=NETWORK_MS))
    assert clock.ms(everything) == NETWORK_MS
    assert clock.ms(graph.kept({graph.prunable[0].id: (0,)})) == NETWORK_MS
    # Layers may take longer alone than together.
    clock = Clock(graph, Timings(layers=layers, network=12.0))
    assert clock.ms(everything) == 12


def test_a_narrower_network_that_was_timed_tells_how_the_rest_falls(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    spec = parse_cfg(
        "[net]\nheight=8\nwidth=8\nchannels=3\n"
        "[convolutional]\nfilters=32\nsize=3\npad=1\nactivation=leaky\n"
        "[maxpool]\nsize=2\nstride=2\n"
        "[convolutional]\nfilters=2\nactivation=linear\n"
    )
    graph = dependencies(spec)
    (group,) = graph.prunable

    def measure(layers: list[Layer]) -> dict[Layer, float]:
        return {layer: 0.1 * layer.outputs for layer in layers}

    # Nodes between layers take a constant, and each channel its time.
    def whole(kept: np.ndarray) -> float:
        channels = np.count_nonzero(kept[list(group.channels)])
        return 0.1 * channels + 0.2 + 3 + 0.05 * channels

    clock = Clock(graph, Timings(layers={}, network=whole(graph.kept({})), measure=measure), whole)
    quarter, half = (graph.kept({group.id: tuple(range(n))}) for n in (8, 16))
    clock.learn(quarter)
    clock.learn(half)
    assert clock.ms(half) < 0.95 * whole(half)
    assert clock.observe(quarter) == whole(quarter)
    assert clock.ms(quarter) == pytest.approx(whole(quarter))
    assert clock.ms(half) == pytest.approx(whole(half))
    # Each network that was timed counts, and only its neighbors beside it.
    monkeypatch.setattr(clock, "_time_whole", lambda kept: 2 * whole(kept))
    clock.observe(half)
    assert clock.ms(half) == pytest.approx(2 * whole(half))
    assert clock.observe(quarter) == clock.ms(quarter) == pytest.approx(whole(quarter))
    # So the plan that is made last is timed and within the limit.
    clock = Clock(graph, Timings(layers={}, network=whole(graph.kept({})), measure=measure), whole)
    budget = Budget(limits={"ms": 0.8})
    plan = solve_timed(graph, {group.id: np.arange(32.0)}, budget, criterion="x", clock=clock)
    limit = 0.8 * whole(graph.kept({}))
    assert whole(graph.kept(plan.keep)) <= limit
    wider = {group.id: tuple(range(len(plan.keep[group.id]) + plan.budget.multiple_of))}
    assert whole(graph.kept(wider)) > limit
    # Where even the narrowest takes longer, no layer is measured in search of another.
    clock = Clock(graph, Timings(layers={}, network=whole(graph.kept({})), measure=measure), whole)
    known = len(clock.timings.layers)
    with pytest.raises(PlanError, match=r"the smallest reachable is 0\.4.* \(3\.35 ms\)"):
        solve_timed(
            graph, {group.id: np.arange(32.0)}, Budget(limits={"ms": 0.3}), criterion="x",
            clock=clock, roundings=(1,),
        )  # fmt: skip
    assert len(clock.timings.layers) == known + 2


def test_layers_are_listed_in_the_kinds_that_a_search_asks_for() -> None:
    graph = dependencies(yolov3_tiny(classes=1, width=0.5, size=(64, 64)))
    layers = listed_layers(graph)
    assert set(layers) >= {layer for _, layer in timed_layers(graph)}
    assert len(layers) == len(set(layers))
    # What a search comes by is estimated from layers of the same form, whatever it keeps.
    clock = Clock(graph, Timings(layers={layer: float(layer.macs) for layer in layers}))
    generator = np.random.default_rng(0)
    for _ in range(5):
        keep = {g.id: tuple(range(int(generator.integers(1, g.size + 1)))) for g in graph.prunable}
        kept = graph.kept(keep)
        exact = sum(layer.macs for layer in clock.layers(kept))
        assert clock.ms(kept) == pytest.approx(exact, rel=0.35)


def test_all_limits_hold_beside_the_time() -> None:
    graph, scores = dependencies(SPEC), scores_of(dependencies(SPEC), 0)
    clock = Clock(graph, Timings(layers=dict.fromkeys(every_layer(graph, 0), 1.0)))
    limits = {"ms": 1.0, "channels": 0.5}
    plan = solve(graph, scores, Budget(limits=limits), criterion="x", clock=clock)
    assert sum(map(len, plan.keep.values())) + 2 <= 0.5 * (FIRST + SECOND + 2)
    with pytest.raises(PlanError, match="needs timings"):
        solve(graph, scores, Budget(limits=limits), criterion="x")


def test_counts_are_rounded_to_what_lets_the_most_stay() -> None:
    spec = parse_cfg(
        "[net]\nheight=8\nwidth=8\nchannels=3\n"
        "[convolutional]\nfilters=32\nsize=3\npad=1\nactivation=leaky\n"
        "[convolutional]\nfilters=2\nactivation=linear\n"
    )
    graph = dependencies(spec)
    scores = {graph.prunable[0].id: np.arange(32.0)}

    def measured(block: int) -> Timings:
        def measure(layers: list[Layer]) -> dict[Layer, float]:
            # Whole blocks take time, filled or not.
            return {k: float(-(-k.outputs // block) * -(-k.inputs // block)) for k in layers}

        return Timings(layers={}, measure=measure)

    for block, most in ((8, 24), (16, 16), (4, 24)):
        clock = Clock(graph, measured(block))
        budget = Budget(limits={"ms": 0.8})
        plan = solve_timed(graph, scores, budget, criterion="x", clock=clock)
        assert len(plan.keep[graph.prunable[0].id]) == most
        assert plan.budget.multiple_of == (16 if block == 16 else 8)


def test_a_network_is_bound_by_what_takes_its_time() -> None:
    graph = dependencies(SPEC)
    whole = graph.kept({})
    layers = list(every_layer(graph, 0))
    for why, cause in (
        ("layer count", lambda layer: 1.0),
        ("memory", lambda layer: float(layer.moved)),
        ("MACs", lambda layer: float(layer.macs)),
    ):
        clock = Clock(graph, Timings(layers={layer: cause(layer) for layer in layers}))
        found = clock.time(whole)
        assert found.bound_by == why
        assert found.overhead + found.memory + found.macs == pytest.approx(found.ms)
        assert found.parts[why] == pytest.approx(1) and found.others == pytest.approx(0)
        # Of a network that takes four times as long, most is no convolution.
        clock = Clock(graph, replace(clock.timings, network=4 * found.ms))
        assert clock.time(whole).bound_by == "what is no convolution"
        assert clock.time(whole).parts[why] == pytest.approx(0.25)
        assert sum(clock.time(whole).parts.values()) == pytest.approx(1)
        # One that takes half of its layers' time is all convolutions.
        clock = Clock(graph, replace(clock.timings, network=found.ms / 2))
        assert clock.time(whole).parts[why] == pytest.approx(1)


def test_what_layers_take_that_fill_no_blocks_is_told() -> None:
    graph = dependencies(yolov3_tiny(classes=1, width=1, size=(64, 64)))
    layers = {k: float(k.macs * (1 if k.fills_blocks else 4)) for k in listed_layers(graph)}
    clock = Clock(graph, Timings(layers=layers))
    own = clock.layers(graph.kept({}))
    odd = [k for k in own if k.outputs % 16 or k.inputs % 16]
    assert 0 < len(odd) < len(own)
    found = clock.time(graph.kept({}))
    assert found.unfilled == pytest.approx(3 * sum(k.macs for k in odd))
    assert found.macs == pytest.approx(sum(k.macs for k in own))
    # All channels but some of each sixteen.
    kept = graph.kept({g.id: tuple(range(g.size - 3)) for g in graph.prunable})
    assert clock.time(kept).bound_by == "unfilled blocks"
