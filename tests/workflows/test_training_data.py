from pathlib import Path

import pytest

from tests.reporters import Heard
from yoloprune.errors import ClassesError
from yoloprune.graph.model import Model
from yoloprune.workflows.training_data import TrainingSource, training_data, training_source


def test_a_path_is_a_source_of_the_usual_splits(tmp_path: Path) -> None:
    source = training_source(str(tmp_path))
    assert source == TrainingSource(path=tmp_path)
    assert training_source(source) is source


def test_images_are_held_out_or_a_split_of_their_own(detector: Model, painted: Path) -> None:
    training, validation = training_data(detector, TrainingSource(path=painted))
    assert (len(training.images), len(validation.images)) == (16, 4)
    heard = Heard()
    held = TrainingSource(path=painted, hold_out=0.25)
    training, validation = training_data(detector, held, reporter=heard)
    assert (len(training.images), len(validation.images)) == (12, 4)
    assert not {i.path for i in training.images} & {i.path for i in validation.images}
    assert not heard.warnings
    same = TrainingSource(path=painted, val_split="train")
    training_data(detector, same, reporter=heard)
    assert (
        "16 of the 16 images to choose the best epoch by are training images" in heard.warnings[0]
    )


def test_other_classes_are_refused_unless_heads_are_to_fit(
    dense: Model, painted: Path, tmp_path: Path
) -> None:
    heard = Heard()
    training_data(dense, TrainingSource(path=painted), reporter=heard)
    assert "names no classes, and its labels use 1 of the network's 2" in heard.warnings[0]
    names = painted / "painted.names"
    names.write_text("rectangle\n")
    try:
        with pytest.raises(ClassesError):
            training_data(dense, TrainingSource(path=painted))
        training, _ = training_data(dense, TrainingSource(path=painted), fit=True)
        assert training.names == ("rectangle",)
    finally:
        names.unlink()
