"""Timing as Python users call it; times themselves are never asserted."""

from pathlib import Path

import torch

from tests.workflows.detectors import cfg  # noqa: F401
from yoloprune.workflows.benchmark import benchmark, benchmark_sparse
from yoloprune.workflows.models import load


def test_paths_and_models_are_timed_against_each_other(cfg: Path) -> None:  # noqa: F811
    threads = torch.get_num_threads()
    found = benchmark(cfg, load(cfg), engines=["opencv"], threads=2, runs=2, warmup=0)
    assert [result.engine for result in found.engines] == ["OpenCV"]
    assert found.engines[0].speedup is not None and found.engines[0].follows_macs is None
    assert found.threads == 2 and "1.00x fewer MACs" in str(found)
    assert torch.get_num_threads() == threads


def test_zeros_are_skipped(cfg: Path) -> None:  # noqa: F811
    result = benchmark_sparse(cfg, runs=2, warmup=0).result
    assert result.fastest_dense in result.latencies and "zero-skipping" in result.latencies
