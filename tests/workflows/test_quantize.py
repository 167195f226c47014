import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch

from tests.color_detector import BLUE_OBJECT, GREEN_OBJECT, paint
from tests.reporters import Heard
from tests.workflows.detectors import cfg, data  # noqa: F401
from yoloprune.errors import DatasetError, UsageError, VerificationError, WeightsError
from yoloprune.quantization.ranges import ranges
from yoloprune.workflows import int8_forms
from yoloprune.workflows import quantize as workflow
from yoloprune.workflows.evaluate import evaluate
from yoloprune.workflows.export import export
from yoloprune.workflows.models import load
from yoloprune.workflows.quantize import quantize


@pytest.fixture
def images(tmp_path: Path) -> Path:
    for number in range(8):
        place = number // 4, number % 4
        paint(
            tmp_path / f"images/{number}.png", (32, 32), {place: GREEN_OBJECT, (3, 3): BLUE_OBJECT}
        )
    return tmp_path / "images"


def test_an_int8_file_detects_what_float_does(
    cfg: Path,  # noqa: F811
    data: Path,  # noqa: F811
    images: Path,
    tmp_path: Path,
) -> None:
    out = tmp_path / "int8.onnx"
    found = quantize(cfg, images, out, data=data, calibration_images=4, max_loss=0.0)
    assert found.stages[0].name == "float" and found.stages[0].int8 == 0
    assert found.loss <= 0 and found.judged == 2 and found.calibrated == 4
    assert found.stages[found.chosen].map50 == evaluate(out, data, engine="onnxruntime").map50
    written = onnx.load(out)
    operators = {node.op_type for node in written.graph.node}
    assert operators >= {"QuantizeLinear", "DequantizeLinear"}
    about = {entry.key: entry.value for entry in written.metadata_props}
    assert json.loads(about["int8"])["chosen"] == found.chosen
    assert "against labels" in str(found) and "of float" in str(found)
    with pytest.raises(UsageError, match="int8: has layers in int8 already: give the network in"):
        quantize(out, images, tmp_path / "again.onnx")


def test_without_labels_float_says_what_is_there(cfg: Path, images: Path, tmp_path: Path) -> None:  # noqa: F811
    found = quantize(cfg, images, tmp_path / "int8.onnx", max_loss=0.5)
    assert (found.calibrated, found.judged) == (4, 4)
    assert found.stages[0].map50 == 1
    assert found.judged_by == "against what float finds"


def test_no_faster_network_is_said_first(
    cfg: Path,  # noqa: F811
    images: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(int8_forms.Trial, "ms", lambda self, models: [1.0] * len(models))
    found = quantize(cfg, images, tmp_path / "int8.onnx", max_loss=0.5)
    assert found.shown().summary.startswith("not faster than float on this processor; ")
    assert found.shown().title.endswith(": not faster than float on this processor")
    assert "keep the float network" in str(found)


def test_too_great_a_loss_is_refused(
    cfg: Path,  # noqa: F811
    images: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(int8_forms, "fits", lambda *_: False)
    monkeypatch.setattr(workflow, "fits", lambda *_: False)
    with pytest.raises(VerificationError, match=r"no int8 network is within `max_loss` 0.01"):
        quantize(cfg, images, tmp_path / "int8.onnx")
    assert not (tmp_path / "int8.onnx").exists()


def test_a_network_that_finds_nothing_is_told(
    cfg: Path,  # noqa: F811
    data: Path,  # noqa: F811
    images: Path,
    tmp_path: Path,
) -> None:
    blind = load(cfg)
    nothing = {name: -array.abs() for name, array in blind.parameters.items()}
    heard, blind = Heard(), replace(blind, parameters=nothing)
    quantize(blind, images, tmp_path / "int8.onnx", data=data, reporter=heard)
    assert any("the float network finds nothing" in line for line in heard.warnings)


def test_a_damaged_network_is_refused(cfg: Path, images: Path, tmp_path: Path) -> None:  # noqa: F811
    export(cfg, tmp_path / "net.onnx")
    sound = load(tmp_path / "net.onnx")
    beyond = {name: torch.full_like(array, torch.nan) for name, array in sound.parameters.items()}
    with pytest.raises(WeightsError, match="not finite"):
        quantize(replace(sound, parameters=beyond), images, tmp_path / "int8.onnx")
    assert not (tmp_path / "int8.onnx").exists()


def test_sizes_of_boxes_are_not_calibrated(
    cfg: Path,  # noqa: F811
    images: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calibrated: set[str] = set()

    def watched(model: onnx.ModelProto, *rest: Any) -> Any:
        calibrated.update(node.op_type for node in model.graph.node)
        return ranges(model, *rest)

    monkeypatch.setattr(int8_forms, "ranges", watched)
    out = tmp_path / "int8.onnx"
    quantize(cfg, images, out, max_loss=0.5)
    # Exponentials may be infinite, and a histogram of values far apart takes hours.
    assert "Conv" in calibrated and "Exp" not in calibrated
    assert "Exp" in {node.op_type for node in onnx.load(out).graph.node}


def test_bad_input(cfg: Path, data: Path, images: Path, tmp_path: Path) -> None:  # noqa: F811
    out = tmp_path / "int8.onnx"
    with pytest.raises(UsageError, match=r"`max_loss` 1.5 must be in"):
        quantize(cfg, images, out, max_loss=1.5)
    with pytest.raises(UsageError, match=r"written as an .onnx"):
        quantize(cfg, images, tmp_path / "int8.cfg")
    with pytest.raises(UsageError, match=r"`calibration_images` 0"):
        quantize(cfg, images, out, calibration_images=0)
    (tmp_path / "folder.onnx").mkdir()
    with pytest.raises(UsageError, match="a folder of this name is in the way"):
        quantize(cfg, images, tmp_path / "folder.onnx")
    with pytest.raises(UsageError, match=r"0\.png: a file of this name is in the way"):
        quantize(cfg, images, images / "0.png" / "int8.onnx")
    with pytest.raises(DatasetError, match=r"all of its .* are measured on"):
        quantize(cfg, data, out, data=data)
    with pytest.raises(DatasetError, match=r"one image is not enough"):
        quantize(cfg, images / "0.png", out)
    assert not out.exists()
