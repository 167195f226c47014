"""What was learned from is told apart from what is measured on, by content."""

import shutil
from pathlib import Path

import pytest

from tests.reporters import Heard
from yoloprune.errors import DatasetError
from yoloprune.graph.model import Model
from yoloprune.workflows.evaluate import evaluate
from yoloprune.workflows.models import load
from yoloprune.workflows.overlap import tell_if_learned_from, without
from yoloprune.workflows.prune import prune


def test_evaluating_on_what_was_fitted_on_is_told(
    detector: Model, painted: Path, tmp_path: Path
) -> None:
    source = painted / "images" / "train"
    cut = prune(detector, {"macs": 0.7}, images=source, calibration_images=4)
    assert cut.plan.criterion == "reconstruction" and cut.recovery is not None
    assert list(cut.learned_from) == cut.recovery["files"]
    cut.save(tmp_path / "slim")
    slim = load(tmp_path / "slim")
    # Whatever the files are called.
    shutil.copytree(painted, tmp_path / "copy")
    heard = Heard()
    evaluate(slim, tmp_path / "copy", split="train", reporter=heard)
    assert any("4 of the 16 images are among those" in line for line in heard.warnings)
    heard = Heard()
    evaluate(slim, painted, split="test", reporter=heard)
    evaluate(detector, painted, split="train", reporter=heard)
    assert not any("fitted on" in line for line in heard.warnings)
    # A report that something else wrote says nothing of images.
    (tmp_path / "slim" / "report.json").write_text("[]")
    tell_if_learned_from(slim, list(source.iterdir()), heard)
    assert not any("fitted on" in line for line in heard.warnings)


def test_images_that_are_measured_on_are_left_out(painted: Path, tmp_path: Path) -> None:
    test = sorted((painted / "images" / "test").iterdir())
    train = sorted((painted / "images" / "train").iterdir())
    copies = [Path(shutil.copy(path, tmp_path / f"{n}.png")) for n, path in enumerate(test[:2])]
    heard = Heard()
    nowhere = tmp_path / "nowhere.png"
    assert without(tmp_path, [*train, *copies, nowhere], test, heard) == (*train, nowhere)
    assert "2 images left out" in heard.warnings[0]
    assert without(tmp_path, train, test, heard) == tuple(train)
    with pytest.raises(DatasetError, match="all of its 2 images are measured on"):
        without(tmp_path, copies, test, heard)
