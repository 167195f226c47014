"""What slim and dense take, by times that are made up."""

import dataclasses
from typing import cast

import pytest

from yoloprune.engines import side_by_side as module
from yoloprune.engines.side_by_side import SideBySide, side_by_side
from yoloprune.graph.model import Model
from yoloprune.report.pruning import latency_lines

FOUND = SideBySide(engine="Abacus 1", threads=1, runs=9, dense_ms=4.0, slim_ms=3.0, share=0.75)


def test_whether_slim_is_faster_is_said_first_and_what_would_help() -> None:
    assert latency_lines(None, 1) == []
    (line,) = latency_lines(FOUND, 1)
    assert line == (
        "slim takes 0.75 of dense's time, 3.00 for 4.00 ms in Abacus 1 (1 thread, medians of 9 "
        "alternating runs)"
    )
    slower = dataclasses.replace(FOUND, share=1.2, slim_ms=4.8)
    first, then = latency_lines(slower, 4)
    assert first.startswith("slim is not faster than dense: it takes 1.20 of")
    assert "multiples of 8" in then
    assert "multiples" not in latency_lines(slower, 8)[1]
    # What timing is off by is no gain.
    assert not dataclasses.replace(FOUND, share=0.99).faster


@pytest.mark.parametrize("share", [0.0, -1.0, float("nan"), float("inf")])
def test_times_that_cannot_be_are_refused(share: float) -> None:
    with pytest.raises(ValueError, match="times must be above 0"):
        dataclasses.replace(FOUND, share=share)


def test_the_share_is_the_median_of_neighboring_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    dense, slim = (cast(Model, object()) for _ in range(2))
    # A machine that slows down from run to run slows both down.
    turns = iter(range(1000))
    factor = {id(dense): 2.0, id(slim): 1.0}
    monkeypatch.setattr(module, "run_in", lambda model, *_, **__: model)
    monkeypatch.setattr(module, "sample_image", lambda _: None)
    monkeypatch.setattr(
        module,
        "timer",
        lambda runner, *_: lambda: factor[id(runner)] * (100 + next(turns) // 2),
    )
    found = side_by_side(dense, slim, "torch", 1)
    assert found.share == 0.5
    assert found.slim_ms < found.dense_ms
    assert found.runs == module.LEAST_RUNS
