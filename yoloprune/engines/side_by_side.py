"""A slim network beside its dense origin: whether it is faster, where it runs."""

import math
import statistics
from dataclasses import dataclass

import torch

from yoloprune.engines.benchmark import (
    alternating_times,
    sample_image,
    timer,
    times_as_fast,
)
from yoloprune.engines.table import engine_named, run_in
from yoloprune.graph.model import Model

RUNS, WARMUP = 30, 2
"""Alternating runs of slim and dense at most, and those before them."""

LEAST_RUNS, ENOUGH_MS = 7, 1000.0
"""At least so many runs of each, and no more once they took so long."""

SLOWER = 0.98
"""The share of dense's time from which on a slim network counts as no faster."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SideBySide:
    """Milliseconds of dense and slim, medians of alternating runs, and slim's share of dense's.

    Raises `ValueError` for times that cannot be.
    """

    engine: str
    threads: int
    runs: int
    dense_ms: float
    slim_ms: float
    share: float

    def __post_init__(self) -> None:
        times = self.dense_ms, self.slim_ms, self.share
        if not all(0 < time < math.inf for time in times):
            raise ValueError(f"times must be above 0, not {', '.join(f'{t:g}' for t in times)}")

    @property
    def faster(self) -> bool:
        """Whether the slim network takes less time, beyond what timing is off by."""
        return self.share < SLOWER


def side_by_side(dense: Model, slim: Model, engine: str, threads: int | None = None) -> SideBySide:
    """Time a slim network beside its dense origin on the CPU, run by run in turn.

    Raises what `run_in` raises.
    """
    row = engine_named(engine)
    row.require()
    count = threads or torch.get_num_threads()
    timers = {}
    for name, model in (("dense", dense), ("slim", slim)):
        runner = run_in(model, engine, device="cpu", threads=count, batch=1)
        timers[name] = timer(runner, sample_image(model), count)
    first = alternating_times(timers, row.title, runs=1, warmup=WARMUP)
    each = sum(map(sum, first.values()))
    runs = min(RUNS, max(LEAST_RUNS, int(ENOUGH_MS / max(each, 1e-3))))
    found = alternating_times(timers, row.title, runs=runs, warmup=0)
    return SideBySide(
        engine=f"{row.title} {row.version}",
        threads=count,
        runs=runs,
        dense_ms=statistics.median(found["dense"]),
        slim_ms=statistics.median(found["slim"]),
        share=times_as_fast(found["dense"], than=found["slim"]),
    )
