"""Budgets in milliseconds from end to end, by times that are made up."""

import json
from collections.abc import Collection
from pathlib import Path
from typing import ClassVar

import pytest

from tests.reporters import Heard
from tests.workflows.test_depth import residual_network
from yoloprune.engines.engine import Engine
from yoloprune.engines.side_by_side import SideBySide
from yoloprune.errors import GraphError, PlanError, UsageError
from yoloprune.graph.model import Model
from yoloprune.pruning.clock import Clock, timed_layers
from yoloprune.pruning.groups import analyze
from yoloprune.pruning.layer_times import Layer, write_timings
from yoloprune.workflows import prune as pruning
from yoloprune.workflows import rounding, timing
from yoloprune.workflows.depth import removable, without
from yoloprune.workflows.measured import cache_file
from yoloprune.workflows.prune import prune

NETWORK_MS = 3.0


def made_up(layers: Collection[Layer]) -> dict[Layer, float]:
    """Blocks of 16 channels take time, full or not."""
    return {
        k: 1e-2 * -(-k.outputs // 16) * (1 if k.depthwise else -(-k.inputs // 16)) for k in layers
    }


def whole_ms(network: Model, engine: str, threads: int) -> float:
    """Of the dense network `NETWORK_MS`; beside the layers a constant, then."""
    own = [layer for _, layer in timed_layers(analyze(network.graph))]
    taken = made_up(own)
    if not DENSE_LAYERS_MS:
        DENSE_LAYERS_MS.append(sum(taken[layer] for layer in own))
    return NETWORK_MS - DENSE_LAYERS_MS[0] + sum(taken[layer] for layer in own)


def beside(dense: Model, slim: Model, engine: str, threads: int) -> SideBySide:
    before, after = (whole_ms(network, engine, threads) for network in (dense, slim))
    return SideBySide(
        engine=engine,
        threads=threads,
        runs=1,
        dense_ms=before,
        slim_ms=after,
        share=after / before,
    )


DENSE_LAYERS_MS: list[float] = []


class Stopwatch:
    """Stands for what times layers, and remembers those that it was asked for."""

    asked: ClassVar[list[Layer]] = []

    def __init__(self, engine: str, threads: int) -> None:
        assert (engine, threads) == ("torch", 1)

    def __call__(self, layers: Collection[Layer]) -> dict[Layer, float]:
        Stopwatch.asked.extend(layers)
        return made_up(layers)


@pytest.fixture
def stopwatch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> type[Stopwatch]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(rounding, "channel_quantum", lambda engine: 8)
    monkeypatch.setattr(timing, "LayerTimer", Stopwatch)
    monkeypatch.setattr(timing, "network_ms", whole_ms)
    monkeypatch.setattr(timing, "side_by_side", beside)
    Stopwatch.asked.clear()
    return Stopwatch


def test_a_network_is_cut_to_a_share_of_its_time(dense: Model, stopwatch: type[Stopwatch]) -> None:
    cut = prune(dense, {"ms": 0.9}, engine="torch", threads=1)
    share = whole_ms(cut.slim, "torch", 1) / NETWORK_MS
    assert share <= 0.9
    assert cut.settings["predicted_share"] == pytest.approx(share, abs=1e-4)
    assert cut.settings["dense_ms"] == NETWORK_MS
    assert cut.settings["timings"].startswith("torch ")
    assert cut.plan.budget.multiple_of <= 8
    # What was measured is not measured again, though more may be.
    prune(dense, {"ms": 0.8}, engine="torch", threads=1)
    assert len(stopwatch.asked) == len(set(stopwatch.asked)) > 0


def test_a_budget_that_no_plan_meets_when_it_is_timed_is_said(
    dense: Model, stopwatch: type[Stopwatch], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Of so few layers the next plan is far: that none is found is made up.
    plan = Clock.observe
    monkeypatch.setattr(Clock, "observe", lambda self, kept: None)
    found = prune(dense, {"ms": 0.9}, engine="torch", threads=1).plan
    monkeypatch.setattr(Clock, "observe", plan)
    monkeypatch.setattr(pruning, "solve_timed", lambda *_, **__: found)
    monkeypatch.setattr(Clock, "ms", lambda self, kept: NETWORK_MS * (1 if kept.all() else 0.97))
    heard = Heard()
    cut = prune(dense, {"ms": 0.9}, engine="torch", threads=1, reporter=heard)
    assert cut.settings["predicted_share"] == 0.97
    assert any("takes 0.97 of dense's time, not 0.90" in warning for warning in heard.warnings)


def test_times_that_were_measured_elsewhere_are_read(dense: Model, tmp_path: Path) -> None:
    graph, path = analyze(dense.graph), tmp_path / "t.csv"
    layers = made_up([layer for _, layer in timed_layers(graph)])
    write_timings(path, layers, NETWORK_MS)
    cut = prune(dense, {"ms": 0.99}, timings=path)
    assert cut.settings["timings"] == str(path)
    assert cut.settings["predicted_share"] <= 0.99
    heard = Heard()
    write_timings(path, layers)
    prune(dense, {"ms": 0.99}, timings=path, reporter=heard)
    assert any("no time of the whole network" in warning for warning in heard.warnings)
    write_timings(path, dict.fromkeys(layers, 1e300), NETWORK_MS)
    with pytest.raises(PlanError, match="line 2: ms is 1e\\+300, which nothing takes"):
        prune(dense, {"ms": 0.99}, timings=path)
    write_timings(path, dict(list(layers.items())[1:]), NETWORK_MS)
    with pytest.raises(PlanError, match="the timings lack a 3x3 convolution, 3 to 2 channels"):
        prune(dense, {"ms": 0.9}, timings=path)


def test_blocks_take_their_part_of_the_time_that_was_measured_elsewhere(tmp_path: Path) -> None:
    network, path = residual_network(), tmp_path / "t.csv"
    layers = [layer for _, layer in timed_layers(analyze(network.graph))]
    total = sum(made_up([layer])[layer] for layer in layers)
    gone = [removable(network)[0].reading]
    short, _ = without(network, gone)
    left = [layer for _, layer in timed_layers(analyze(short.graph))]
    share = sum(made_up([layer])[layer] for layer in left) / total
    write_timings(path, made_up(layers), total)
    assert share < 1
    cut = prune(network, {"ms": share + 1e-6}, blocks=gone, timings=path)
    assert cut.slim.cost == short.cost
    assert cut.settings["dense_ms"] == pytest.approx(share * total, abs=1e-4)


def test_an_engine_that_is_not_known_is_refused_before_anything_is_timed(dense: Model) -> None:
    with pytest.raises(UsageError, match="engine 'abacus' is not known"):
        prune(dense, {"ms": 0.9}, engine="abacus")


def test_a_damaged_cache_is_measured_anew(dense: Model, stopwatch: type[Stopwatch]) -> None:
    prune(dense, {"ms": 0.9}, engine="torch", threads=1)
    asked = list(stopwatch.asked)
    (cache,) = Path(cache_file("torch", "x", 1)).parent.glob("*.csv")
    cache.write_text("nothing of the kind\n")
    prune(dense, {"ms": 0.9}, engine="torch", threads=1)
    assert stopwatch.asked == 2 * asked


def test_slim_and_dense_are_timed_where_the_engine_is_there(
    dense: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut = prune(dense, {"macs": 0.5}, multiple_of=1)
    assert not any("of dense's time" in line for line in cut.shown().lines)
    found = SideBySide(engine="torch", threads=1, runs=7, dense_ms=4, slim_ms=5, share=1.25)
    monkeypatch.setattr(timing, "side_by_side", lambda *_: found)
    slower = timing.timed(cut, "torch", 1)
    assert slower.shown().lines[0].startswith("slim is not faster than dense: it takes 1.25")
    assert slower.shown().summary.startswith("not faster than dense; ")
    assert slower.shown().summary.endswith("; 1.25 of dense's time")
    assert slower.shown().title.endswith(": not faster than dense")
    slower.save(tmp_path / "slim")
    assert "## Time\n\n- slim is not faster" in (tmp_path / "slim" / "report.md").read_text()
    report = json.loads((tmp_path / "slim" / "report.json").read_text())
    assert report["latency"]["share"] == 1.25

    def refuse(*_: object) -> SideBySide:
        raise GraphError("it has an abacus")

    monkeypatch.setattr(timing, "side_by_side", refuse)
    heard = Heard()
    assert timing.timed(cut, "torch", 1, heard) is cut
    assert "not timed: it has an abacus" in heard.lines
    monkeypatch.setattr(Engine, "missing", ("abacus",))
    assert timing.timed(cut, "torch", 1) is cut
