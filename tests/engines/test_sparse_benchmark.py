"""The arithmetic; times themselves are never asserted."""

from collections.abc import Callable
from itertools import cycle, repeat

import pytest

from tests.engines.tiny import MODEL
from yoloprune.engines import sparse_benchmark
from yoloprune.engines.engine import Runner
from yoloprune.engines.sparse_benchmark import benchmark_sparse
from yoloprune.engines.zero_skipping import TITLE
from yoloprune.errors import VerificationError


def test_the_fastest_dense_engine_is_the_one_to_beat(monkeypatch: pytest.MonkeyPatch) -> None:
    lasting = {TITLE: cycle([2.0, 4.0]), "a": repeat(9.0), "b": cycle([6.0, 8.0])}

    def stopwatch(runner: Runner | str, images: object) -> Callable[[], float]:
        series = lasting[runner if isinstance(runner, str) else TITLE]
        return lambda: next(series)

    monkeypatch.setattr(sparse_benchmark, "cpu_runners", lambda model: {"a": "a", "b": "b"})
    monkeypatch.setattr(sparse_benchmark, "timer", stopwatch)
    found = benchmark_sparse(MODEL, runs=4, warmup=0)
    assert (found.fastest_dense, found.latencies["b"].median) == ("b", 7)
    # 6 / 2 and 8 / 4, in turn.
    assert found.speedup_vs_fastest_dense == 2.5
    assert found.relative_error <= 1e-4
    assert len(found.layers) == len([n for n in MODEL.graph.nodes if n.operator == "Conv"])
    monkeypatch.setattr(sparse_benchmark, "TOLERANCE", -1.0)
    with pytest.raises(VerificationError, match=r"zero-skipping differs .*: not timed"):
        benchmark_sparse(MODEL, runs=1, warmup=0)
