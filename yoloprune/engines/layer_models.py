"""Layers as little ONNX files, to be timed on a machine that has nothing but an engine.

`examples/time_layers.py` times them, by the way that `layer_times` explains. All kernels are the
first of the same numbers, which stand in one file beside the models.
"""

import csv
from collections.abc import Collection
from io import StringIO
from pathlib import Path

from yoloprune.engines.layer_times import between, copies_of, noise, sandwich
from yoloprune.engines.onnx_bytes import float32_arrays, onnx_bytes
from yoloprune.files import write_text
from yoloprune.frontends.onnx.build import onnx_model
from yoloprune.graph.graph import Graph
from yoloprune.graph.model import Model
from yoloprune.pruning.layer_times import COLUMNS, Layer, cells

NUMBERS = "numbers.bin"
LISTED = (*COLUMNS, "file", "copies", "before", "after")
"""Columns of layers.csv: a table of times, and in which files a layer stands, how often."""


def write_layer_models(folder: Path, layers: Collection[Layer], network: Model) -> None:
    """Write layers.csv, its models, and the whole network, into a folder that is there."""
    table = StringIO()
    rows = csv.writer(table, lineterminator="\n")
    rows.writerow(LISTED)
    folder.joinpath(NUMBERS).write_bytes(b"")
    for number, layer in enumerate(layers):
        copies, name = copies_of(layer), f"layer{number}.onnx"
        _write(folder / name, sandwich(layer, copies))
        rooms = [
            _room(folder, layer.inputs, (layer.height, layer.width)),
            _room(folder, layer.outputs, layer.room),
        ]
        rows.writerow((*cells(layer, None), name, copies, *rooms))
    write_text(folder / "layers.csv", table.getvalue())
    folder.joinpath("network.onnx").write_bytes(onnx_bytes(network, 1))


def _room(folder: Path, channels: int, room: tuple[int, int]) -> str:
    """What stands around a layer, in two files of this name, unless they are there."""
    name = f"{channels}x{room[0]}x{room[1]}"
    for times, word in ((1, "once"), (2, "twice")):
        path = folder / f"{name}_{word}.onnx"
        if not path.exists():
            _write(path, between(channels, room, times))
    return name


def _write(path: Path, graph: Graph) -> None:
    """A model whose numbers are in the file of all."""
    from onnx import external_data_helper

    model = onnx_model(graph, float32_arrays(noise(graph)))
    numbers = path.with_name(NUMBERS)
    for array in model.graph.initializer:
        if len(array.raw_data) > numbers.stat().st_size:
            numbers.write_bytes(array.raw_data)
        external_data_helper.set_external_data(array, NUMBERS, 0, len(array.raw_data))
        array.ClearField("raw_data")
    path.write_bytes(model.SerializeToString())
