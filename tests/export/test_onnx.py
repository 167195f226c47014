"""ONNX files: what ONNX Runtime makes of them, and that a wrong one does not appear."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from tests.random_networks import random_state
from yoloprune.darknet.parser import parse_cfg
from yoloprune.darknet.zoo import yolov3_tiny
from yoloprune.detection.decode import decode
from yoloprune.errors import VerificationError, YoloPruneError
from yoloprune.export import onnx as export
from yoloprune.model.network import Network

SPEC = yolov3_tiny(classes=2, width=0.125, size=(64, 96))
STATE = random_state(SPEC, 1, torch.float32)


@pytest.fixture
def images() -> torch.Tensor:
    return torch.rand(1, *SPEC.input_shape, generator=torch.Generator().manual_seed(9))


def run(path: Path, images: torch.Tensor) -> dict[str, np.ndarray]:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, {"images": images.numpy()}), strict=True))


def test_raw_heads_in_onnx_runtime_equal_torch(tmp_path: Path, images: torch.Tensor) -> None:
    check = export.export_onnx(SPEC, STATE, tmp_path / "net.onnx")
    assert check.relative_error < 1e-4
    outputs = run(tmp_path / "net.onnx", images)
    assert list(outputs) == [f"head_{head.index}" for head in SPEC.heads]
    with torch.inference_mode():
        maps = Network.from_state(SPEC, STATE)(images)
    for ours, theirs in zip(maps, outputs.values(), strict=True):
        np.testing.assert_allclose(theirs, ours.numpy(), rtol=1e-3, atol=1e-4)
    assert [p.name for p in tmp_path.iterdir()] == ["net.onnx"]
    onnx.checker.check_model(str(tmp_path / "net.onnx"))


def test_decoded_boxes_in_onnx_runtime_equal_torch(tmp_path: Path, images: torch.Tensor) -> None:
    export.export_onnx(SPEC, STATE, tmp_path / "net.onnx", decoded=True)
    outputs = run(tmp_path / "net.onnx", images)
    with torch.inference_mode():
        predictions = decode(SPEC, Network.from_state(SPEC, STATE)(images))
    np.testing.assert_allclose(outputs["boxes"], predictions.boxes.numpy(), rtol=1e-3, atol=1e-3)
    scores = (predictions.objectness[..., None] * predictions.classes).numpy()
    np.testing.assert_allclose(outputs["scores"], scores, rtol=1e-3, atol=1e-5)


def test_a_file_that_differs_does_not_appear(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = {i: replace(p, bias=p.bias + 1) for i, p in STATE.items()}
    network = Network.from_state(SPEC, other)
    real = torch.onnx.export

    def wrong(_: object, *args: object, **options: object) -> object:
        return real(network, *args, **options)

    monkeypatch.setattr(torch.onnx, "export", wrong)
    with pytest.raises(VerificationError, match="ONNX Runtime differs"):
        export.export_onnx(SPEC, STATE, tmp_path / "net.onnx")
    assert list(tmp_path.iterdir()) == []


def test_weights_that_are_not_the_files_are_noticed(tmp_path: Path) -> None:
    export.export_onnx(SPEC, STATE, tmp_path / "net.onnx")
    export.check_onnx(SPEC, STATE, tmp_path / "net.onnx")
    with pytest.raises(VerificationError):
        export.check_onnx(SPEC, random_state(SPEC, 2, torch.float32), tmp_path / "net.onnx")


def test_missing_packages_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(YoloPruneError, match=r"pip install 'yoloprune\[export\]'"):
        export.export_onnx(SPEC, STATE, tmp_path / "net.onnx")


def test_a_network_without_heads_has_nothing_to_decode(tmp_path: Path) -> None:
    spec = parse_cfg(
        "[net]\nheight=8\nwidth=8\nchannels=3\n[convolutional]\nfilters=2\nactivation=linear\n"
    )
    with pytest.raises(YoloPruneError, match="no head"):
        export.export_onnx(spec, random_state(spec), tmp_path / "net.onnx", decoded=True)
