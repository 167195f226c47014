"""Anyone's slim files: made here by other programs, or spoilt."""

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import numpy_helper

from tests.frontends.onnx.models import residual
from tests.random_networks import random_state
from yoloprune.errors import UsageError, VerificationError
from yoloprune.frontends.darknet.document import model
from yoloprune.frontends.darknet.zoo import yolov3_tiny
from yoloprune.pruning.groups import analyze
from yoloprune.pruning.plan import kept_filters
from yoloprune.workflows.cut import Cut
from yoloprune.workflows.export import export
from yoloprune.workflows.match import match
from yoloprune.workflows.prune import prune
from yoloprune.workflows.recover import recover


@pytest.fixture
def net(tmp_path: Path) -> Path:
    onnx.save_model(residual(), tmp_path / "net.onnx")
    return tmp_path / "net.onnx"


@pytest.fixture
def cut(net: Path) -> Cut:
    return prune(net, {"macs": 0.6}, multiple_of=1, criterion="random")


def expected(cut: Cut) -> dict[str, tuple[int, ...]]:
    return kept_filters(analyze(cut.dense.graph), cut.plan)


def saved(proto: onnx.ModelProto, folder: Path) -> Path:
    onnx.save_model(proto, folder / "theirs.onnx")
    return folder / "theirs.onnx"


def test_a_file_written_by_hand(net: Path, tmp_path: Path) -> None:
    """Cut by numpy alone, under other names."""
    rows = {"12": [1, 2, 3, 5, 8, 13], "3": [0, 2, 4, 23]}
    proto = residual()
    for tensor in proto.graph.initializer:
        array = numpy_helper.to_array(tensor)
        if tensor.name[-1] in "12":
            array = array[rows["12"]]
        if tensor.name in ("w2", "w3"):
            array = array[:, rows["12"]]
        if tensor.name in ("w3", "c3"):
            array = array[rows["3"]]
        if tensor.name == "w4":
            array = array[:, rows["3"]]
        tensor.CopyFrom(numpy_helper.from_array(array, tensor.name + "_own"))
    for number, own in enumerate(proto.graph.node):
        own.name = f"n{number}"
        own.input[:] = [f"{name}_own" for name in own.input]
        own.output[:] = [f"{name}_own" for name in own.output]
    proto.graph.input[0].name = "x_own"
    proto.graph.output[0].name = "y_own"
    onnx.checker.check_model(proto)
    found = match(net, saved(proto, tmp_path))
    layers = {"first": "12", "second": "12", "third": "3"}
    assert found.kept == {node: tuple(rows[own]) for node, own in layers.items()} | {
        "head": tuple(range(6))
    }
    assert found.difference.exactness is not None and found.difference.exactness.values == 11
    assert "22 of 62 channels are left" in str(found)
    assert json.loads(json.dumps(found.shown().document))["kept"]["third"] == rows["3"]


def test_a_file_whose_batch_norms_onnx_runtime_folded(cut: Cut, net: Path, tmp_path: Path) -> None:
    cut.slim.save(tmp_path / "slim.onnx")
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(tmp_path / "folded.onnx")
    onnxruntime.InferenceSession(
        str(tmp_path / "slim.onnx"), options, providers=["CPUExecutionProvider"]
    )
    nodes = onnx.load(tmp_path / "folded.onnx").graph.node
    assert "BatchNormalization" not in {node.op_type for node in nodes}
    found = match(net, tmp_path / "folded.onnx")
    assert found.kept == expected(cut)
    assert found.difference.exactness is None
    assert 0 < found.difference.change.relative_error < 5e-5
    assert "over the outputs of other operators" in str(found)


def test_recovered_weights_are_told_by_layer(cut: Cut, net: Path, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    noise = np.random.default_rng(0).integers(0, 256, (4, 16, 16, 3), np.uint8)
    for number, photo in enumerate(noise):
        cv2.imwrite(str(photos / f"{number}.png"), photo)
    recover(cut, photos, calibration_images=4).slim.save(tmp_path / "slim.onnx")
    words = r"slim\.onnx: \d+ of 62 channels of .*net\.onnx are left, but it is not exact: outputs "
    with pytest.raises(VerificationError, match=words + r"differ .* the first first$"):
        match(net, tmp_path / "slim.onnx")


def test_one_wrong_number_is_found(cut: Cut, net: Path, tmp_path: Path) -> None:
    changed = {name: tensor.clone() for name, tensor in cut.slim.parameters.items()}
    changed["w3"][0, 0] += 1e-4
    with pytest.raises(VerificationError, match=r"1 layer holds other numbers .* the first third$"):
        match(net, replace(cut.slim, parameters=changed))


def test_other_arithmetic_is_found(cut: Cut, net: Path, tmp_path: Path) -> None:
    cut.slim.save(tmp_path / "slim.onnx")
    proto = onnx.load(tmp_path / "slim.onnx")
    proto.graph.node[0].attribute[0].ints[:] = [2, 0, 2, 0]
    with pytest.raises(VerificationError, match="hold the dense network's numbers, but a differs"):
        match(net, saved(proto, tmp_path))


def test_another_network_is_refused_by_layer(net: Path, tmp_path: Path) -> None:
    proto = residual()
    del proto.graph.node[-2:]
    proto.graph.output[0].name = "e"
    proto.graph.output[0].type.tensor_type.shape.dim[1].dim_value = 24
    with pytest.raises(VerificationError, match="has 3 layers with kernels, the dense one 4"):
        match(net, saved(proto, tmp_path))
    other = residual()
    shapes = {"w3": (30, 16, 1, 1), "c3": (30,), "w4": (6, 30, 1, 1)}
    for tensor in other.graph.initializer:
        if tensor.name in shapes:
            array = np.zeros(shapes[tensor.name], np.float32)
            tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
    with pytest.raises(VerificationError, match="third: its 30 filters cannot be among the 24"):
        match(net, saved(other, tmp_path))


def test_a_cfg_and_an_onnx_file_are_one_network(tmp_path: Path) -> None:
    """A file tells real attributes in float32, such as the slope of leaky: 0.1 is another there."""
    spec = yolov3_tiny(classes=1, width=0.125, size=(64, 64))
    dense = model(spec, random_state(spec, 1, torch.float32), title="net")
    cut = prune(dense, {"macs": 0.6})
    export(cut.slim, tmp_path / "raw.onnx", decode=False)
    found = match(dense, tmp_path / "raw.onnx")
    assert found.difference.change.relative_error <= 1e-12
    export(cut.slim, tmp_path / "decoded.onnx", decode=True)
    with pytest.raises(UsageError, match=r"decoded\.onnx gives boxes, scores .* in the same form"):
        match(dense, tmp_path / "decoded.onnx")
