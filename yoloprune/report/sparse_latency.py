"""Latency of a network whose zeros are skipped, against dense engines on the same CPU threads."""

import statistics
from dataclasses import dataclass

import torch

from yoloprune.darknet.spec import NetworkSpec
from yoloprune.darknet.state import State
from yoloprune.errors import VerificationError
from yoloprune.model.network import Network
from yoloprune.pruning.verification import compare
from yoloprune.report.latency import (
    Latency,
    alternating_times,
    dense_cpu_timers,
    latency_of,
    sample_image,
    times_as_fast,
    wall_clock,
)
from yoloprune.reporter import SILENT, Reporter
from yoloprune.sparsity.inference import LayerChoice, SparseNetwork

ENGINE = "zero-skipping"

TOLERANCE = 1e-4
"""Largest relative difference of the head maps from the dense network's, in float32."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SparseResult:
    """Latencies by engine, `ENGINE` among them, all computing the same network.

    `speedup_vs_fastest_dense` is the median of the ratios of neighbouring runs; `relative_error` is
    that of the head maps; `layers` says how each convolution was computed.
    """

    latencies: dict[str, Latency]
    fastest_dense: str
    speedup_vs_fastest_dense: float
    relative_error: float
    layers: tuple[LayerChoice, ...]


def benchmark_sparse(
    spec: NetworkSpec,
    state: State,
    *,
    runs: int,
    warmup: int,
    reporter: Reporter = SILENT,
) -> SparseResult:
    """Time a network with its zeros skipped and in every dense engine, alternating run by run.

    Threads are those of `torch.get_num_threads`. Raises
    `VerificationError` where the outputs differ, `WeightsError` where numba is not installed.
    """
    image = sample_image(spec)
    sparse = SparseNetwork(spec, state, threads=torch.get_num_threads())
    with torch.inference_mode():
        check = compare(sparse(image), Network.from_state(spec, state)(image), tolerance=TOLERANCE)
    if not check.passed:
        raise VerificationError(
            f"zero-skipping differs from the dense network by {check.relative_error:.3g} relative, "
            f"allowed {TOLERANCE:g}: not timed"
        )

    timers = {ENGINE: wall_clock(lambda: sparse(image))} | dense_cpu_timers(spec, state)
    times = alternating_times(timers, "timing", runs=runs, warmup=warmup, reporter=reporter)
    dense = {engine: statistics.median(series) for engine, series in times.items()}
    del dense[ENGINE]
    fastest = min(dense, key=lambda engine: dense[engine])
    return SparseResult(
        latencies={engine: latency_of(series) for engine, series in times.items()},
        fastest_dense=fastest,
        speedup_vs_fastest_dense=times_as_fast(times[ENGINE], than=times[fastest]),
        relative_error=check.relative_error,
        layers=sparse.choices,
    )
