"""ONNX files: what ONNX Runtime makes of them, and that a wrong one does not appear."""

import importlib.util
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from onnxruntime import quantization
from onnxruntime.capi.onnxruntime_pybind11_state import InvalidArgument

from tests.architectures import ARCHITECTURES
from tests.networks import network_of
from tests.onnx_reference import outputs_of
from tests.random_networks import network_specs, random_state
from yoloprune.detection.decode import decode
from yoloprune.engines.onnx_bytes import float32_arrays
from yoloprune.errors import VerificationError, YoloPruneError
from yoloprune.exporters import onnx as export
from yoloprune.exporters.interface import OnnxForm, is_decodable
from yoloprune.frontends.darknet.lower import lower, parameters
from yoloprune.frontends.darknet.options import ACTIVATIONS
from yoloprune.frontends.darknet.parser import parse_cfg
from yoloprune.frontends.darknet.spec import NetworkSpec
from yoloprune.frontends.darknet.state import ConvParameters
from yoloprune.frontends.darknet.zoo import NETWORKS, yolov3_tiny
from yoloprune.frontends.onnx import build

SPEC = yolov3_tiny(classes=2, width=0.125, size=(64, 96))
STATE = random_state(SPEC, 1, torch.float32)
NOISE = torch.rand(1, *SPEC.input_shape, generator=torch.Generator().manual_seed(9))


def run(path: Path, images: torch.Tensor) -> dict[str, np.ndarray]:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, {"images": images.numpy()}), strict=True))


def test_raw_heads_in_onnx_runtime_equal_torch(tmp_path: Path) -> None:
    check = export.export_onnx(SPEC, STATE, tmp_path / "net.onnx")
    assert check.relative_error < 1e-4
    outputs = run(tmp_path / "net.onnx", NOISE)
    assert list(outputs) == [f"head_{head.index}" for head in SPEC.heads]
    with torch.inference_mode():
        maps = network_of(SPEC, STATE)(NOISE)
    for ours, theirs in zip(maps, outputs.values(), strict=True):
        np.testing.assert_allclose(theirs, ours.numpy(), rtol=1e-3, atol=1e-4)
    assert [p.name for p in tmp_path.iterdir()] == ["net.onnx"]
    onnx.checker.check_model(str(tmp_path / "net.onnx"))


def test_decoded_boxes_in_onnx_runtime_equal_torch(tmp_path: Path) -> None:
    export.export_onnx(SPEC, STATE, tmp_path / "net.onnx", decoded=True)
    outputs = run(tmp_path / "net.onnx", NOISE)
    with torch.inference_mode():
        predictions = decode(SPEC, network_of(SPEC, STATE)(NOISE))
    np.testing.assert_allclose(outputs["boxes"], predictions.boxes.numpy(), rtol=1e-3, atol=1e-3)
    scores = (predictions.objectness[..., None] * predictions.classes).numpy()
    np.testing.assert_allclose(outputs["scores"], scores, rtol=1e-3, atol=1e-5)


def test_a_file_that_differs_does_not_appear(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = parameters({i: replace(p, bias=p.bias + 1) for i, p in STATE.items()})
    for wrong in (other, {name: tensor * float("nan") for name, tensor in other.items()}):
        arrays = float32_arrays(wrong)
        monkeypatch.setattr(export, "float32_arrays", lambda _, arrays=arrays: arrays)
        with pytest.raises(VerificationError, match=r"net\.onnx: ONNX Runtime differs"):
            export.export_onnx(SPEC, STATE, tmp_path / "net.onnx")
        assert list(tmp_path.iterdir()) == []


def test_weights_that_overflow_are_named(tmp_path: Path) -> None:
    state = {i: replace(p, kernel=p.kernel * 1e30) for i, p in STATE.items()}
    with pytest.raises(VerificationError, match="gives NaN on noise: its weights overflow"):
        export.export_onnx(SPEC, state, tmp_path / "net.onnx")


def test_boxes_may_be_infinitely_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As those of untrained networks are; where one is not that large, the file is wrong."""
    (head, *_) = (head.sources[0] for head in SPEC.heads)
    huge = STATE | {head: replace(STATE[head], bias=STATE[head].bias + 100)}
    export.export_onnx(SPEC, huge, tmp_path / "net.onnx", decoded=True)
    assert not all(np.isfinite(array).all() for array in run(tmp_path / "net.onnx", NOISE).values())
    arrays = float32_arrays(parameters(STATE))
    monkeypatch.setattr(export, "float32_arrays", lambda _: arrays)
    with pytest.raises(VerificationError, match="differs from torch by inf"):
        export.export_onnx(SPEC, huge, tmp_path / "net.onnx", decoded=True)


def test_other_precisions_are_written_as_float32(tmp_path: Path) -> None:
    double = {i: ConvParameters(**{n: t.double() for n, t in p.items()}) for i, p in STATE.items()}
    for name, state in (("a", STATE), ("b", double)):
        export.export_onnx(SPEC, state, tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.parametrize("name", NETWORKS | ARCHITECTURES)
def test_every_architecture_for_one_image_and_for_several(name: str, tmp_path: Path) -> None:
    spec = (NETWORKS | ARCHITECTURES)[name](classes=2, width=0.0625, size=(64, 96))
    state = random_state(spec, 1, torch.float32)
    export.export_onnx(spec, state, tmp_path / "net.onnx", decoded=True)
    images = torch.rand(3, *spec.input_shape, generator=torch.Generator().manual_seed(2))
    expected = outputs_of(spec, state, images, decoded=True)
    for ours, theirs in zip(expected, run(tmp_path / "net.onnx", images).values(), strict=True):
        assert np.abs(theirs - ours).max() <= 1e-4 * np.abs(ours).max()


# A stair's floor turns rounding errors into steps.
@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(spec=network_specs(activations=sorted(ACTIVATIONS - {"stair"}), max_blocks=5))
def test_random_networks_in_onnx_runtime_equal_torch(tmp_path: Path, spec: NetworkSpec) -> None:
    state = random_state(spec, 1, torch.float32)
    decoded = is_decodable(spec)
    check = export.export_onnx(spec, state, tmp_path / "net.onnx", decoded=decoded)
    assert check.relative_error < 1e-4
    assert set(check.outputs) == ({"boxes", "scores"} if decoded else set(lower(spec).outputs))


def test_a_fixed_number_of_images(tmp_path: Path) -> None:
    check = export.export_onnx(SPEC, STATE, tmp_path / "net.onnx", batch=2, decoded=True)
    assert check.outputs == {"boxes": (2, 90, 4), "scores": (2, 90, 2)}
    assert export.check_onnx(SPEC, STATE, tmp_path / "net.onnx") == check
    with pytest.raises(InvalidArgument, match="Got: 1 Expected: 2"):
        run(tmp_path / "net.onnx", NOISE)


def test_what_readers_of_2023_know(tmp_path: Path) -> None:
    """ONNX Runtime 1.14 of February 2023 reads operator sets up to 18 and formats up to 8."""
    export.export_onnx(SPEC, STATE, tmp_path / "net.onnx")
    model = onnx.load(tmp_path / "net.onnx")
    assert [(o.domain, o.version) for o in model.opset_import] == [("", 15)]
    assert model.ir_version <= 8


def test_the_form_of_a_file_is_read_back(tmp_path: Path) -> None:
    forms = [
        OnnxForm(),
        OnnxForm(decoded=True, names=("hand", 'fist, "left" 🖐')),
        OnnxForm(decoded=True, batch=4),
    ]
    for form in forms:
        export.export_onnx(SPEC, STATE, tmp_path / "net.onnx", **asdict(form))
        assert export.read_form(tmp_path / "net.onnx") == form
    (tmp_path / "net.onnx").write_bytes(b"")
    with pytest.raises(VerificationError, match="ONNX Runtime cannot run it"):
        export.read_form(tmp_path / "net.onnx")


def test_static_quantization_to_int8_gives_numbers(tmp_path: Path) -> None:
    """Padding with minus infinity, as a node of its own, gave a scale of infinity and then NaN."""

    class Images(quantization.CalibrationDataReader):
        def __init__(self) -> None:
            self.left = [{"images": NOISE.numpy()}] * 2

        def get_next(self) -> dict[str, np.ndarray] | None:
            return self.left.pop() if self.left else None

    export.export_onnx(SPEC, STATE, tmp_path / "net.onnx")
    quantization.quantize_static(tmp_path / "net.onnx", tmp_path / "int8.onnx", Images())
    found = run(tmp_path / "int8.onnx", NOISE)
    for name, dense in run(tmp_path / "net.onnx", NOISE).items():
        assert np.abs(found[name] - dense).max() < 0.2 * np.abs(dense).max()


def test_a_network_too_large_for_one_file_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build, "LARGEST", 1000)
    with pytest.raises(YoloPruneError, match="more than 2 GB"):
        export.export_onnx(SPEC, STATE, tmp_path / "net.onnx")
    assert list(tmp_path.iterdir()) == []


def test_weights_that_are_not_the_files_are_noticed(tmp_path: Path) -> None:
    export.export_onnx(SPEC, STATE, tmp_path / "net.onnx")
    export.check_onnx(SPEC, STATE, tmp_path / "net.onnx")
    with pytest.raises(VerificationError):
        export.check_onnx(SPEC, random_state(SPEC, 2, torch.float32), tmp_path / "net.onnx")


def test_missing_packages_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(YoloPruneError, match=r"pip install 'yoloprune\[export\]'"):
        export.export_onnx(SPEC, STATE, tmp_path / "net.onnx")


def test_a_network_without_heads_has_nothing_to_decode(tmp_path: Path) -> None:
    spec = parse_cfg(
        "[net]\nheight=8\nwidth=8\nchannels=3\n[convolutional]\nfilters=2\nactivation=linear\n"
    )
    with pytest.raises(YoloPruneError, match="no detection head"):
        export.export_onnx(spec, random_state(spec), tmp_path / "net.onnx", decoded=True)
