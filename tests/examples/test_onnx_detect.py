"""The example script finds what `detect` finds, and needs nothing of this package."""

import ast
import json
import runpy
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from tests.frontends.onnx.models import residual
from tests.networks import network_of
from tests.random_networks import random_state
from yoloprune.data.images import read_image, write_image
from yoloprune.detection.nms import IOU_THRESHOLD, SCORE_THRESHOLD
from yoloprune.evaluation.detector import detect_objects, network_detector
from yoloprune.exporters.onnx import export_onnx
from yoloprune.frontends.darknet.spec import NetworkSpec, with_option
from yoloprune.frontends.darknet.zoo import yolov3_tiny

SCRIPT = Path(__file__).parents[2] / "examples" / "onnx_detect.py"
NAMES = ("hand", "fist")


def detector(letter_box: bool, channels: int) -> NetworkSpec:
    spec = yolov3_tiny(classes=2, width=0.0625, size=(64, 96))
    options = with_option(spec.net_options, "letter_box", str(int(letter_box)))
    return replace(spec, net_options=options, input_shape=(channels, 64, 96))


@pytest.mark.parametrize(("letter_box", "channels"), [(False, 3), (True, 3), (False, 1)])
@pytest.mark.parametrize("size", [(150, 100), (50, 200)])
def test_the_script_finds_what_detect_finds(
    letter_box: bool,
    channels: int,
    size: tuple[int, int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    spec = detector(letter_box, channels)
    state = random_state(spec, 3, torch.float32)
    names = None if letter_box else NAMES
    export_onnx(spec, state, tmp_path / "slim.onnx", decoded=True, names=names)
    noise = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    write_image(tmp_path / "photo.png", noise)
    monkeypatch.setattr(
        sys, "argv", [str(SCRIPT), str(tmp_path / "slim.onnx"), str(tmp_path / "photo.png")]
    )
    runpy.run_path(str(SCRIPT), run_name="__main__")
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]

    network = network_of(spec, state)
    found = detect_objects(
        network_detector(spec, network),
        read_image(tmp_path / "photo.png", channels),
        threshold=SCORE_THRESHOLD,
        iou_threshold=IOU_THRESHOLD,
    )
    assert len(found.scores) > 20
    labels = [names[label] if names else str(label) for label in found.labels.tolist()]
    assert sorted(row[0] for row in rows) == sorted(labels)
    ours = np.column_stack((found.labels, found.scores, found.boxes_xyxy))
    theirs = np.array(
        [(names.index(row[0]) if names else int(row[0]), *map(float, row[1:])) for row in rows]
    )
    apart = np.abs(ours[:, None] - theirs[None]) / (0.5, 0.01, 1, 1, 1, 1)
    assert (apart.max(axis=2).min(axis=1) < 1).all()


def test_what_it_cannot_read_is_told_in_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = detector(letter_box=False, channels=3)
    state = random_state(spec, 3, torch.float32)
    export_onnx(spec, state, tmp_path / "raw.onnx", decoded=False)
    export_onnx(spec, state, tmp_path / "good.onnx", decoded=True)
    onnx.save_model(residual(), tmp_path / "foreign.onnx")
    flat = onnx.helper.make_tensor_value_info("boxes", onnx.TensorProto.FLOAT, [1, 3])
    rows = onnx.helper.make_tensor_value_info("rows", onnx.TensorProto.FLOAT, [1, 3])
    node = onnx.helper.make_node("Relu", ["rows"], ["boxes"])
    odd = onnx.helper.make_model(
        onnx.helper.make_graph([node], "odd", [rows], [flat]),
        opset_imports=[onnx.helper.make_opsetid("", 17)],
        ir_version=8,
    )
    onnx.helper.set_model_props(odd, {"input": "no JSON"})
    onnx.save_model(odd, tmp_path / "odd.onnx")
    for name, problem in (
        ("raw.onnx", "gives no boxes: write it with `yoloprune export"),
        ("foreign.onnx", "gives no boxes"),
        ("odd.onnx", "gives no boxes"),
        ("good.onnx", "gone.png: no image"),
    ):
        words = [str(SCRIPT), str(tmp_path / name), str(tmp_path / "gone.png")]
        monkeypatch.setattr(sys, "argv", words)
        with pytest.raises(SystemExit, match=problem):
            runpy.run_path(str(SCRIPT), run_name="__main__")
    monkeypatch.setattr(sys, "argv", [str(SCRIPT)])
    with pytest.raises(SystemExit, match=r"onnx_detect\.py slim\.onnx photo\.jpg"):
        runpy.run_path(str(SCRIPT), run_name="__main__")


def test_the_script_is_short_and_stands_alone() -> None:
    text = SCRIPT.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 35
    imported = {
        alias.name
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Import)
        for alias in node.names
    }
    assert imported == {"json", "sys", "cv2", "numpy", "onnxruntime"}
    assert json.dumps([SCORE_THRESHOLD, IOU_THRESHOLD])[1:-1] in text
