"""Latency of a network whose zeros are skipped, against dense engines on the same CPU threads."""

import statistics
from dataclasses import dataclass

import torch

from yoloprune.engines.benchmark import (
    Latency,
    alternating_times,
    cpu_runners,
    latency_of,
    sample_image,
    timer,
    times_as_fast,
)
from yoloprune.engines.table import run_in
from yoloprune.engines.zero_skipping import TITLE, LayerChoice, runner, sparse_network
from yoloprune.errors import VerificationError
from yoloprune.graph.model import Model
from yoloprune.pruning.verification import compare
from yoloprune.reporter import SILENT, Reporter

TOLERANCE = 1e-4
"""Largest relative difference of the head maps from the dense network's, in float32."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SparseResult:
    """Latencies by engine, zero-skipping among them, all computing the same network.

    `speedup_vs_fastest_dense` is the median of the ratios of neighboring runs; `relative_error` is
    that of the head maps; `layers` says how each convolution was computed.
    """

    latencies: dict[str, Latency]
    fastest_dense: str
    speedup_vs_fastest_dense: float
    relative_error: float
    layers: tuple[LayerChoice, ...]


def benchmark_sparse(
    model: Model,
    *,
    runs: int,
    warmup: int,
    reporter: Reporter = SILENT,
) -> SparseResult:
    """Time a model with its zeros skipped and in every usual engine, alternating run by run.

    Threads are those of `torch.get_num_threads`. Raises
    `VerificationError` where the outputs differ, `MissingDependencyError` where numba is not
    installed.
    """
    image = sample_image(model)
    sparse = sparse_network(model, torch.get_num_threads())
    skipping = runner(sparse, model)
    dense = run_in(model, "torch", device="cpu")
    check = compare(skipping.compute(image), dense.compute(image), tolerance=TOLERANCE)
    if not check.passed:
        raise VerificationError(
            f"zero-skipping differs from the dense network by {check.relative_error:.3g} of an "
            f"output's largest value, allowed {TOLERANCE:g}: not timed"
        )

    runners = {TITLE: skipping} | cpu_runners(model)
    timers = {name: timer(each, image) for name, each in runners.items()}
    times = alternating_times(timers, "timing", runs=runs, warmup=warmup, reporter=reporter)
    medians = {name: statistics.median(series) for name, series in times.items() if name != TITLE}
    fastest = min(medians, key=lambda name: medians[name])
    return SparseResult(
        latencies={engine: latency_of(series) for engine, series in times.items()},
        fastest_dense=fastest,
        speedup_vs_fastest_dense=times_as_fast(times[TITLE], than=times[fastest]),
        relative_error=check.relative_error,
        layers=sparse.choices,
    )
