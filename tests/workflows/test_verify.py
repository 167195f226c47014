"""Pruned folders, verified as Python users do it."""

from pathlib import Path

import pytest

from yoloprune.engines import agreement
from yoloprune.errors import PlanError, UsageError, VerificationError
from yoloprune.exporters.interface import OnnxForm
from yoloprune.frontends.darknet.document import model
from yoloprune.frontends.darknet.initialization import random_state
from yoloprune.frontends.darknet.zoo import yolov3_tiny
from yoloprune.workflows.match import Match
from yoloprune.workflows.models import save
from yoloprune.workflows.prune import prune
from yoloprune.workflows.verify import verify


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """dense.cfg, and what pruning made of it in slim/; not to be changed."""
    root = tmp_path_factory.mktemp("pruned")
    spec = yolov3_tiny(classes=2, width=0.0625, size=(32, 32))
    dense = model(spec, random_state(spec), title="dense")
    save(dense, root / "dense.cfg")
    prune(dense, {"macs": 0.5}).save(root / "slim", onnx=OnnxForm())
    return root


def test_the_proof_the_file_and_an_engine(folder: Path) -> None:
    found = verify(folder / "dense.cfg", str(folder / "slim"), engine="opencv")
    assert found.cut.proof.exactness.passed
    assert 0 < found.exports["slim.onnx"].relative_error < 1e-4
    assert found.engine_error is not None and 0 < found.engine_error < 1e-4
    shown = found.shown()
    assert shown.summary.startswith(f"{folder / 'slim'}: verified; slim = masked dense")
    assert any(line.startswith("OpenCV = torch: relative error") for line in shown.lines)
    assert verify(folder / "dense.cfg", folder / "slim").engine_error is None


def test_the_dense_network_comes_first(folder: Path) -> None:
    with pytest.raises(UsageError, match="the dense network comes first, then the slim one"):
        verify(folder / "slim", folder / "dense.cfg")


def test_a_network_that_was_pruned_twice(folder: Path, tmp_path: Path) -> None:
    prune(folder / "slim", {"macs": 0.8}).save(tmp_path / "slimmer")
    assert verify(folder / "slim", tmp_path / "slimmer")
    with pytest.raises(PlanError, match="pruned twice, that is the first slim one"):
        verify(folder / "dense.cfg", tmp_path / "slimmer")
    # Its numbers alone say what is left of the dense one.
    found = verify(folder / "dense.cfg", tmp_path / "slimmer" / "slim.cfg")
    assert isinstance(found, Match)


def test_a_file_where_a_folder_is_wanted(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="a file of this name is in the way"):
        prune(folder / "dense.cfg", {"macs": 0.8}).save(tmp_path / "file")
    with pytest.raises(UsageError, match="file is a file: name the folder that `prune` wrote"):
        verify(folder / "dense.cfg", tmp_path / "file")


def test_an_engine_that_differs_is_told(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agreement, "TOLERANCE", 1e-12)
    with pytest.raises(VerificationError, match=r"OpenCV differs from torch by .* of an output's"):
        verify(folder / "dense.cfg", folder / "slim", engine="opencv")
    with pytest.raises(UsageError, match="'magic' is not known"):
        verify(folder / "dense.cfg", folder / "slim", engine="magic")
