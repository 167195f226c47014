"""Layers as little models: they hold what is timed here, in any engine that reads them."""

import csv
from dataclasses import replace
from pathlib import Path

import onnx
import onnxruntime

from tests.engines.test_layer_times import LAYER, SAME
from tests.random_networks import random_state
from yoloprune.engines.layer_models import NUMBERS, write_layer_models
from yoloprune.frontends.darknet.document import model
from yoloprune.frontends.darknet.zoo import yolov3_tiny
from yoloprune.pruning.layer_times import COLUMNS, cells

SPEC = yolov3_tiny(classes=1, width=0.125, size=(64, 64))
NETWORK = model(SPEC, random_state(SPEC), title="tiny")


def test_models_hold_the_layers_and_share_their_numbers(tmp_path: Path) -> None:
    layers = [LAYER, replace(SAME, groups=24, outputs=24, activation="")]
    write_layer_models(tmp_path, layers, NETWORK)
    rows = list(csv.DictReader((tmp_path / "layers.csv").read_text().splitlines()))
    assert [tuple(row[name] for name in COLUMNS) for row in rows] == [
        cells(layer, None) for layer in layers
    ]
    kernels = []
    for row, layer in zip(rows, layers, strict=True):
        proto = onnx.load(tmp_path / row["file"], load_external_data=False)
        shapes = [tuple(array.dims) for array in proto.graph.initializer]
        kernel = (layer.outputs, layer.inputs // layer.groups, *layer.kernel)
        assert shapes.count(kernel) == int(row["copies"])
        kernels += list(proto.graph.initializer)
        session = onnxruntime.InferenceSession(tmp_path / row["file"])
        assert session.get_inputs()[0].shape == [1, 16, layer.height, layer.width]
        for room in (row["before"], row["after"]):
            assert all((tmp_path / f"{room}_{word}.onnx").exists() for word in ("once", "twice"))
    largest = max(int(entry.value) for k in kernels for entry in k.external_data[2:3])
    assert (tmp_path / NUMBERS).stat().st_size == largest
    onnxruntime.InferenceSession(tmp_path / "network.onnx")
