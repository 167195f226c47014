"""A detector that came as an ONNX file finds what the same one finds as a Darknet network."""

import re
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from tests.color_detector import (
    BLUE_OBJECT,
    FAINT_GREEN_OBJECT,
    GREEN_OBJECT,
    color_spec,
    color_state,
    paint,
    write_labels,
)
from tests.color_onnx import color_onnx
from tests.frontends.onnx.models import residual
from tests.reporters import Heard
from yoloprune.data.calibration import read_calibration
from yoloprune.data.images import read_image
from yoloprune.errors import GraphError, UsageError
from yoloprune.evaluation.detector import detect_objects
from yoloprune.evaluation.protocols import PROTOCOLS
from yoloprune.exporters.onnx import export_onnx
from yoloprune.frontends.darknet.document import model
from yoloprune.graph.model import Model
from yoloprune.workflows.detectors import detector
from yoloprune.workflows.evaluate import evaluate
from yoloprune.workflows.models import load

SQUARE = 32, 32


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two green objects and a blue one; a faint green one is none."""
    folder = tmp_path / "data"
    paint(folder / "a.png", SQUARE, {(0, 0): GREEN_OBJECT, (2, 3): BLUE_OBJECT})
    write_labels(folder / "a.txt", SQUARE, [(0, 0, 0), (2, 3, 1)])
    paint(folder / "b.png", SQUARE, {(1, 1): GREEN_OBJECT, (3, 0): FAINT_GREEN_OBJECT})
    write_labels(folder / "b.txt", SQUARE, [(1, 1, 0), (0, 3, 1)])
    paint(folder / "c.png", SQUARE, {(2, 2): GREEN_OBJECT})
    write_labels(folder / "c.txt", SQUARE, [(2, 2, 0)])
    return folder


def read(proto: onnx.ModelProto, folder: Path) -> Model:
    onnx.save_model(proto, folder / "net.onnx")
    return load(folder / "net.onnx")


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("engine", ["torch", "onnxruntime"])
@pytest.mark.parametrize("batch", [1, 2, "n"])
def test_the_figures_are_those_of_the_darknet_network(
    batch: int | str, engine: str, protocol: str, data: Path, tmp_path: Path
) -> None:
    expected = evaluate(model(color_spec(), color_state(), title="c"), data, protocol=protocol)
    network = read(color_onnx((batch, 3, 32, 32)), tmp_path)
    heard = Heard()
    found = evaluate(network, data, protocol=protocol, engine=engine, reporter=heard)
    assert 0 < found.map50 < 1
    assert found == expected
    assert not heard.warnings


def test_boxes_are_in_the_pixels_of_an_image_of_any_size(tmp_path: Path) -> None:
    network = read(color_onnx((1, 3, "height", "width")), tmp_path)
    finder = detector(network, preprocess="size=64x32")
    assert str(finder.reads) == "BGR in [0, 255], 64x32 by corner"
    assert finder.decoder == "yolox-raw"
    # Half as large in the network, at its left upper corner.
    paint(tmp_path / "a.png", (64, 64), {(0, 1): GREEN_OBJECT, (3, 2): BLUE_OBJECT}, cell=16)
    found = detect_objects(finder, read_image(tmp_path / "a.png"), threshold=0.5, iou_threshold=0.5)
    boxes = dict(zip(found.labels.tolist(), found.boxes_xyxy.tolist(), strict=True))
    assert boxes == {0: [16, 0, 32, 16], 1: [32, 48, 48, 64]}
    with pytest.raises(UsageError, match="net: it reads images of 32x32, and no other size"):
        detector(read(color_onnx(), tmp_path), preprocess="size=64")


def test_a_file_that_was_exported_is_read_as_it_says(data: Path, tmp_path: Path) -> None:
    spec = color_spec("letter_box=1")
    pair = model(spec, color_state(), title="pair")
    export_onnx(spec, color_state(), tmp_path / "net.onnx", decoded=True, names=("a", "b"))
    finder = detector(load(tmp_path / "net.onnx"))
    assert finder.decoder == "yoloprune"
    assert finder.reads.preprocess.resize == "darknet-letterbox"
    assert evaluate(finder, data).per_class == evaluate(pair, data).per_class


@pytest.mark.parametrize(
    ("preprocess", "reason"),
    [
        ("plain", "is sure of nothing: no score is above "),
        ("yolox,mean=-1e5", r"is sure of too much: 76% of its boxes have scores above 0\.5"),
        ("yolox,mean=1e30", "gives numbers that are not finite"),
    ],
)
def test_a_preset_that_leaves_a_network_dead_is_warned_of(
    preprocess: str, reason: str, data: Path, tmp_path: Path
) -> None:
    proto = color_onnx()
    if "1e30" in preprocess:
        # Sizes overflow.
        (kernel,) = (t for t in proto.graph.initializer if t.name == "kernel8")
        array = onnx.numpy_helper.to_array(kernel).copy()
        array[2:4] = 1e20
        kernel.CopyFrom(onnx.numpy_helper.from_array(array, "kernel8"))
    heard = Heard()
    evaluate(read(proto, tmp_path), data, preprocess=preprocess, reporter=heard)
    (warning,) = heard.warnings
    assert warning.startswith("given ") and "(of 3 images)" in warning
    assert re.search(reason, warning)
    if "1e30" not in preprocess:
        assert warning.endswith(", but not with `preprocess` yolox or yunet")


def test_so_are_images_to_learn_from(data: Path, tmp_path: Path) -> None:
    network, heard = read(color_onnx(), tmp_path), Heard()
    lively = read_calibration(network, data, 2, 0, heard)
    assert not heard.warnings
    assert (str(lively.reads), lively.images.max()) == ("BGR in [0, 255], 32x32 by corner", 255)
    dead = read_calibration(network, data, 2, 0, heard, "plain")
    assert dead.images.max() == 1
    assert "is sure of nothing" in heard.warnings[0]


def test_outputs_that_no_image_moves_are_warned_of(data: Path, tmp_path: Path) -> None:
    proto = color_onnx()
    for tensor in proto.graph.initializer:
        if tensor.name in ("kernel8", "bias8"):
            array = np.zeros_like(onnx.numpy_helper.to_array(tensor))
            tensor.CopyFrom(onnx.numpy_helper.from_array(array, tensor.name))
    heard = Heard()
    evaluate(read(proto, tmp_path), data, reporter=heard)
    (warning,) = heard.warnings
    assert "gives the same for every image" in warning
    assert warning.endswith("say by `preprocess` what it wants")


def test_settings_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    network = read(color_onnx(), tmp_path)
    with pytest.raises(UsageError, match=r"`decoder` yunet reads .*output \(1, 21, 7\)"):
        detector(network, decoder="yunet")
    with pytest.raises(GraphError, match=r"its input x is float32 \(1, 3, 32, 32\)"):
        detector(network, preprocess="layout=nhwc")
    gray = color_onnx((1, 1, 32, 32))
    for tensor in gray.graph.initializer:
        if tensor.name.startswith("kernel"):
            array = onnx.numpy_helper.to_array(tensor)[:, :1].copy()
            tensor.CopyFrom(onnx.numpy_helper.from_array(array, tensor.name))
    network = read(gray, tmp_path)
    assert str(detector(network).reads) == "gray in [0, 255], 32x32 by corner"
    with pytest.raises(UsageError, match="mean has three numbers, but the network reads gray"):
        detector(network, preprocess="torchvision")
    pair = model(color_spec(), color_state(), title="pair")
    for setting in ({"preprocess": "plain"}, {"decoder": "yolox"}):
        with pytest.raises(UsageError, match="pair: `preprocess` and `decoder` are for ONNX files"):
            detector(pair, **setting)
    with pytest.raises(UsageError, match=r"net: no decoder is known to read its outputs, y \(1"):
        detector(read(residual(), tmp_path))


def test_chosen_boxes_need_the_names_of_their_classes(tmp_path: Path) -> None:
    proto = color_onnx()
    rows = np.zeros((1, 300, 6), np.float32)
    rows[0, 0] = [1, 2, 3, 4, 0.9, 1]
    proto.graph.initializer.append(onnx.numpy_helper.from_array(rows, "rows"))
    proto.graph.initializer.append(onnx.numpy_helper.from_array(np.float32(0), "zero"))
    for name, reads, gives, axes in (
        ("ReduceMax", ["output"], "most", {"keepdims": 0}),
        ("Mul", ["most", "zero"], "nothing", {}),
        ("Add", ["rows", "nothing"], "chosen", {}),
    ):
        proto.graph.node.append(onnx.helper.make_node(name, reads, [gives], **axes))
    proto.graph.output[0].name = "chosen"
    for axis, size in enumerate((1, 300, 6)):
        proto.graph.output[0].type.tensor_type.shape.dim[axis].dim_value = size
    with pytest.raises(UsageError, match="nothing says how many classes there are: write their"):
        detector(read(proto, tmp_path))
    onnx.helper.set_model_props(proto, {"names": "{0: 'hand', 1: 'foot'}"})
    found = detector(read(proto, tmp_path)).predict(torch.zeros(1, 3, 32, 32))
    assert found.suppressed
    assert (found.objectness[..., None] * found.classes)[0, 0].tolist() == pytest.approx([0, 0.9])
