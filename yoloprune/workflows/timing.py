"""Budgets in milliseconds: where the times of layers come from, and what a slim network takes."""

from collections.abc import Iterator
from contextlib import contextmanager
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
from yoloprune.errors import GraphError
from yoloprune.exporters.onnx import require_onnx
from yoloprune.files import write_folder
from yoloprune.graph.model import Model
from yoloprune.pruning.clock import Clock, listed_layers
from yoloprune.pruning.cut import removal
from yoloprune.pruning.groups import analyze
from yoloprune.pruning.layer_times import Layer, Timings, read_timings, write_timings
from yoloprune.reporter import SILENT, Reporter
from yoloprune.workflows.cut import Cut
from yoloprune.workflows.measured import (
    cache_file,
    known_layers,
    network_file,
    remembered,
    remembering,
    writing,
)
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
    *,
    before: Model | None = None,
) -> Iterator[Clock]:
    """The clock of a network in an engine: by a table that was read, or by what is measured here.

    A table is of the network `before` blocks were removed, if any. What was measured is in the
    cache when this ends. Raises `UsageError` for an engine that is not known,
    `MissingDependencyError` for one that is not installed, `GraphError` for one that cannot run the
    network, `PlanError` for a table that is malformed or lacks a layer.
    """
    dependencies = analyze(model.graph)
    if timings is not None:
        table = read_timings(Path(timings))
        if table.network is None:
            reporter.warn(
                f"{timings} has no time of the whole network, which is its last line: all but "
                "convolutions counts as nothing, so that less is saved than is predicted"
            )
        elif before is not None:
            ms = Clock(analyze(before.graph), table).shortened(dependencies)
            table = replace(table, network=ms)
        yield Clock(dependencies, table)
        return
    row = engine_named(engine)
    row.require()
    with cpu_threads(threads) as count:
        source = f"{row.title} {row.version}, {counted(count, 'thread')}"
        cache = cache_file(engine, row.version, count)

        def dense_ms() -> float:
            return network_ms(model, engine, count)

        def whole(kept: NDArray[np.bool_]) -> float:
            slim = model.edited(removal(dependencies, kept))

            # Run by run in turn, as users compare them: what ran before leaves its data in caches.
            def slim_ms() -> float:
                return side_by_side(model, slim, engine, count).share * network

            return remembered(slim_ms, network_file(cache, model.graph, slim.graph))

        with reporter.stage(f"timing layers in {source}"):
            network = remembered(dense_ms, network_file(cache, model.graph))
            found = Timings(
                layers={},
                network=network,
                measure=remembering(LayerTimer(engine, count), cache),
                source=source,
            )
            clock = Clock(dependencies, found, whole)
            try:
                yield clock
            finally:
                with writing():
                    cache.parent.mkdir(parents=True, exist_ok=True)
                    write_timings(cache, known_layers(cache) | found.layers)


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
