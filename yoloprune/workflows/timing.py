"""Budgets in milliseconds: where the times of layers come from, and what a slim network takes.

What was measured on this machine is kept in the user's cache folder, by engine, its version,
threads and processor, so that the next run measures only what is new.
"""

import hashlib
import os
import platform
import re
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from yoloprune.counting import counted
from yoloprune.engines.layer_models import write_layer_models
from yoloprune.engines.layer_times import LayerTimer, network_ms, noise
from yoloprune.engines.side_by_side import side_by_side
from yoloprune.engines.table import engine_named
from yoloprune.errors import GraphError, PlanError
from yoloprune.exporters.onnx import require_onnx
from yoloprune.files import write_folder, write_text
from yoloprune.graph.graph import Graph
from yoloprune.graph.model import Model
from yoloprune.pruning.clock import Clock, listed_layers
from yoloprune.pruning.cut import removal
from yoloprune.pruning.groups import analyze
from yoloprune.pruning.layer_times import Layer, Measure, Timings, read_timings, write_timings
from yoloprune.reporter import SILENT, Reporter
from yoloprune.workflows.cut import Cut
from yoloprune.workflows.models import AnyModel, opened

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

        def dense_ms() -> float:
            return network_ms(model, engine, count)

        def whole(kept: NDArray[np.bool_]) -> float:
            slim = model.edited(removal(dependencies, kept))

            # Run by run in turn, as users compare them: what ran before leaves its data in caches.
            def slim_ms() -> float:
                return side_by_side(model, slim, engine, count).share * network

            return _remembered(slim_ms, cache, model.graph, slim.graph)

        with reporter.stage(f"timing layers in {source}"):
            network = _remembered(dense_ms, cache, model.graph)
            found = Timings(
                layers={},
                network=network,
                measure=_remembering(LayerTimer(engine, count), cache),
                source=source,
            )
            clock = Clock(dependencies, found, whole)
            try:
                yield clock
            finally:
                write_timings(cache, _cached(cache) | found.layers)


def list_layers(network: AnyModel, folder: str | Path) -> list[Layer]:
    """Write what a script times elsewhere, for `timings`: layers, as they are and with fewer
    channels, and the whole network, as models in a folder.

    Raises `UsageError` for a folder that is there, `MissingDependencyError` without onnx.
    """
    network, folder = opened(network), Path(folder)
    require_onnx()
    layers = listed_layers(analyze(network.graph))
    if not network.parameters:
        # Of a .cfg alone: any numbers take as long.
        made = {name: array.abs() for name, array in noise(network.graph).items()}
        network = replace(network, parameters=made)
    with write_folder(folder, must_be_new=True) as temporary:
        write_layer_models(temporary, layers, network)
    return layers


def _remembering(measure: Measure, cache: Path) -> Measure:
    """The same, of what is not in the cache.

    A layer's time is asked for as if it was measured now: estimates, and so plans, go by what this
    network asked for, and not by what others left in the cache.
    """
    known = _cached(cache)

    def remembered(layers: Collection[Layer]) -> dict[Layer, float]:
        new = measure([layer for layer in layers if layer not in known])
        return {layer: known[layer] if layer in known else new[layer] for layer in layers}

    return remembered


def _remembered(measure: Callable[[], float], cache: Path, *graphs: Graph) -> float:
    """Milliseconds of whole networks, from a file beside the cache if they were timed before."""
    digests = "-".join(graph.digest()[:16] for graph in graphs)
    path = cache.parent / "networks" / f"{cache.stem}-{digests}.txt"
    with suppress(OSError, ValueError):
        return float(path.read_text(encoding="ascii"))
    ms = measure()
    path.parent.mkdir(exist_ok=True)
    write_text(path, f"{ms:.6g}\n")
    return ms


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
    # A version may name the branch that it was built of: "2026.4.1-releases/2026/4".
    said = re.sub(r"[^\w.+-]", "_", version)
    return folder / f"{engine}-{said}-{threads}-{_processor()}.csv"


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
