"""Budgets in milliseconds: where the times of layers come from, and what a slim network takes.

What was measured on this machine is kept in the user's cache folder, by engine, its version,
threads and processor, so that the next run measures only what is new.
"""

import hashlib
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import torch

from yoloprune.counting import counted
from yoloprune.engines.layer_times import LayerTimer, network_ms
from yoloprune.engines.side_by_side import side_by_side
from yoloprune.engines.table import engine_named
from yoloprune.errors import GraphError, PlanError
from yoloprune.graph.model import Model
from yoloprune.pruning.clock import Clock
from yoloprune.pruning.groups import analyze
from yoloprune.pruning.layer_times import Layer, Timings, read_timings, write_timings
from yoloprune.reporter import SILENT, Reporter
from yoloprune.workflows.cut import Cut

ENGINE = "onnxruntime"
"""What networks are timed in unless told otherwise."""


@contextmanager
def cpu_threads(count: int | None) -> Iterator[int]:
    """So many threads in torch; its own number comes back afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield count or before
    finally:
        torch.set_num_threads(before)


@contextmanager
def clock_of(
    model: Model,
    engine: str,
    threads: int | None,
    timings: str | Path | None,
    reporter: Reporter = SILENT,
) -> Iterator[Clock]:
    """The clock of a network in an engine: by a table that was read, or by what is measured here.

    What was measured is in the cache when this ends. Raises `UsageError` for an engine that is not
    known, `MissingDependencyError` for one that is not installed, `GraphError` for one that cannot
    run the network, `PlanError` for a table that is malformed or lacks a layer.
    """
    dependencies = analyze(model.graph)
    if timings is not None:
        yield Clock(dependencies, read_timings(Path(timings)))
        return
    row = engine_named(engine)
    row.require()
    with cpu_threads(threads) as count:
        source = f"{row.title} {row.version}, {counted(count, 'thread')}"
        cache = _cache(engine, row.version, count)
        with reporter.stage(f"timing layers in {source}"):
            found = Timings(
                layers=_cached(cache),
                network=network_ms(model, engine, count),
                measure=LayerTimer(engine, count),
                source=source,
            )
            clock = Clock(dependencies, found)
            try:
                yield clock
            finally:
                write_timings(cache, _cached(cache) | found.layers)


def _cached(path: Path) -> dict[Layer, float]:
    """What was measured before; nothing where the file is not there or damaged."""
    try:
        return read_timings(path).layers
    except PlanError:
        return {}


def _cache(engine: str, version: str, threads: int) -> Path:
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = root / "yoloprune" / "timings"
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{engine}-{version}-{threads}-{_processor()}.csv"


def _processor() -> str:
    """What tells this processor from others, kernels being chosen by it."""
    told = [platform.machine(), platform.processor()]
    information = Path("/proc/cpuinfo")
    if information.exists():
        wanted = ("model name", "flags", "Features", "CPU part", "cache size")
        lines = information.read_text(encoding="utf-8", errors="replace").splitlines()
        told += sorted({line for line in lines if line.startswith(wanted)})
    return hashlib.sha256("\n".join(told).encode()).hexdigest()[:12]


def timed(
    cut: Cut, engine: str = ENGINE, threads: int | None = None, reporter: Reporter = SILENT
) -> Cut:
    """The cut with what slim and dense take side by side, where the engine is there and runs both.

    Raises `UsageError` for an engine that is not known.
    """
    row = engine_named(engine)
    if row.missing:
        return cut
    with reporter.stage(f"timing slim and dense in {row.title}"):
        try:
            found = side_by_side(cut.origin, cut.slim, engine, threads)
        except GraphError as error:
            reporter.say(f"not timed: {error}")
            return cut
    return replace(cut, latency=found)
