"""Export as Python users call it, and a format that is added."""

from dataclasses import replace
from pathlib import Path

import onnx
import pytest

from tests.frontends.onnx.models import residual
from tests.workflows.detectors import cfg  # noqa: F401
from yoloprune.errors import UsageError, VerificationError
from yoloprune.exporters import table
from yoloprune.exporters.format import ExportCheck, ExportFormat
from yoloprune.exporters.interface import OnnxForm
from yoloprune.exporters.table import FORMATS, format_of
from yoloprune.graph.model import Model
from yoloprune.workflows.export import export
from yoloprune.workflows.models import load
from yoloprune.workflows.prune import prune


def test_boxes_and_names_are_put_in(cfg: Path, tmp_path: Path) -> None:  # noqa: F811
    cfg.with_suffix(".names").write_text("left\nright\n")
    check = export(cfg, str(tmp_path / "a.onnx")).check
    assert (check.engine, list(check.outputs)) == ("ONNX Runtime", ["boxes", "scores"])
    written = {p.key: p.value for p in onnx.load(tmp_path / "a.onnx").metadata_props}
    assert written["names"] == '["left", "right"]'
    raw = export(load(cfg), tmp_path / "b.onnx", decode=False, batch=2)
    assert raw.check.outputs == {"head_1": (2, 7, 4, 4)}
    assert format_of(tmp_path / "a.ONNX").check(load(cfg), tmp_path / "a.onnx") == check


def test_an_onnx_network_is_written_as_it_is(tmp_path: Path) -> None:
    onnx.save_model(residual(), tmp_path / "net.onnx")
    network = load(tmp_path / "net.onnx")
    found = export(network, tmp_path / "copy.onnx")
    assert found.images == (1, 3, 16, 16) and 0 < found.check.relative_error < 1e-5
    assert (tmp_path / "copy.onnx").read_bytes() == (tmp_path / "net.onnx").read_bytes()
    slim = prune(network, {"macs": 0.6}, multiple_of=1)
    assert list(export(slim, tmp_path / "slim.onnx").check.outputs) == list(slim.slim.graph.outputs)
    check = format_of(tmp_path / "slim.onnx").check
    assert check(slim.slim, tmp_path / "slim.onnx").relative_error < 1e-5
    with pytest.raises(UsageError, match="`batch` are for Darknet networks"):
        export(network, tmp_path / "other.onnx", batch=2)
    with pytest.raises(UsageError, match="read from this file: choose another"):
        export(network, tmp_path / "net.onnx")


def test_a_new_format_is_a_row(
    cfg: Path,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def write(model: Model, path: Path, form: OnnxForm) -> ExportCheck:
        path.write_text(f"{model.document.title} {form.decoded}")
        return ExportCheck(engine="none", outputs={}, relative_error=0.0)

    row = ExportFormat(
        name="text",
        suffix=".txt",
        require=lambda: None,
        write=write,
        check=lambda model, path: ExportCheck(engine="none", outputs={}, relative_error=0.0),
    )
    with pytest.raises(UsageError, match=r"a\.txt: no export format .* one of \.onnx \(onnx\)$"):
        export(cfg, tmp_path / "a.txt")
    monkeypatch.setattr(table, "FORMATS", FORMATS | {"text": row})
    assert export(cfg, tmp_path / "a.txt").check.engine == "none"
    assert (tmp_path / "a.txt").read_text() == "net True"


def test_a_file_of_another_network_is_told(cfg: Path, tmp_path: Path) -> None:  # noqa: F811
    export(cfg, tmp_path / "a.onnx")
    model = load(cfg)
    other = {name: array + 1 for name, array in model.parameters.items()}
    with pytest.raises(VerificationError, match=r"a\.onnx: ONNX Runtime differs from torch"):
        format_of(tmp_path / "a.onnx").check(replace(model, parameters=other), tmp_path / "a.onnx")
