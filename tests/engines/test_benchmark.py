"""The benchmark's arithmetic; times themselves are never asserted."""

import pytest
import torch

from tests.random_networks import random_state
from yoloprune.engines import benchmark as stopwatch
from yoloprune.engines.benchmark import benchmark, default_engines, follows_macs
from yoloprune.errors import UsageError
from yoloprune.frontends.darknet.document import model
from yoloprune.frontends.darknet.zoo import yolov3_tiny

SPEC = yolov3_tiny(classes=1, width=0.0625, size=(32, 32))
MODEL = model(SPEC, random_state(SPEC, 1, torch.float32), title="tiny")


def test_every_engine_times_both_networks() -> None:
    results = benchmark([MODEL, MODEL], runs=3, warmup=1)
    titles = [result.engine for result in results]
    assert titles[:2] == ["torch eager", "ONNX Runtime"]
    assert len(titles) == len(default_engines())
    for result in results:
        assert len(result.latencies) == 2
        assert all(0 < x.median <= x.p95 and x.runs == 3 for x in result.latencies)
        assert result.speedup is not None and result.speedup > 0


def test_engines_may_be_chosen() -> None:
    results = benchmark([MODEL], engines=["opencv", "torch"], device="cpu", runs=1, warmup=0)
    assert [result.engine for result in results] == ["OpenCV", "torch eager"]
    with pytest.raises(UsageError, match="OpenCV runs on cpu here, not on meta"):
        benchmark([MODEL], engines=["opencv"], device="meta", runs=1, warmup=0)


def test_runs_alternate_and_the_ratio_pairs_neighbors(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    # The machine slows down tenfold half way: the ratio must not notice.
    times = {"first": iter([4.0, 4.0, 40.0, 40.0]), "second": iter([2.0, 2.0, 20.0, 20.0])}

    def timer(runner: object, images: object) -> stopwatch.Timer:
        name = ["first", "second"][len(made)]
        made.append(name)

        def timed() -> float:
            calls.append(name)
            return next(times[name])

        return timed

    made: list[str] = []
    monkeypatch.setattr(stopwatch, "timer", timer)
    (result,) = benchmark([MODEL, MODEL], engines=["torch"], runs=4, warmup=0)
    assert calls == ["first", "second"] * 4
    assert result.speedup == 2.0
    assert result.latencies[0].p95 == 40.0
    assert result.latencies[0].median == 22.0


@pytest.mark.parametrize(
    ("speedup", "fewer_macs", "expected"),
    [
        (3.0, 3.3, True),
        (1.1, 3.3, False),
        (0.9, 2.0, False),
        (1.0, 1.0, None),
        (1.3, 1.1, None),
    ],
)
def test_whether_time_follows_the_macs(
    speedup: float, fewer_macs: float, expected: bool | None
) -> None:
    assert follows_macs(speedup, fewer_macs) is expected
