import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from tests.training.painted import paint
from tests.workflows.case_study.tiny import TINY
from yoloprune.data.images import list_images
from yoloprune.errors import DatasetError
from yoloprune.workflows.case_study.data import TRAINING, prepare_data, read_study_data
from yoloprune.workflows.case_study.subject import Subject


def test_what_was_prepared_is_given_until_it_changes(tmp_path: Path) -> None:
    source = paint(tmp_path / "painted", train=10, test=2)
    (tmp_path / "run" / "data").mkdir(parents=True)
    subject = Subject(preset="demo", settings=replace(TINY, hold_out=0.2), data=source)
    prepare_data(tmp_path / "run" / "data", subject)
    data = read_study_data(tmp_path / "run")
    assert data.path == source.resolve() and len(data.anchors) == 9
    training, validation = data.training(0.2)
    assert (len(training.images), len(validation.images)) == (8, 2)
    listed = list_images(tmp_path / "run" / "data" / TRAINING)
    assert [path.resolve() for path in listed] == [i.path.resolve() for i in training.images]
    assert len(data.test().images) == 2
    with pytest.raises(DatasetError, match="the training images or labels have changed"):
        data.training(0.4)
    (source / "labels" / "test" / "0.txt").write_text("")
    with pytest.raises(DatasetError, match="the test images or labels have changed"):
        data.test()
    assert len(data.training(0.2)[0].images) == 8


@pytest.mark.parametrize(("part", "count"), [("test", 2), ("validation", 2)])
def test_nothing_is_begun_that_could_not_be_judged(tmp_path: Path, part: str, count: int) -> None:
    source = paint(tmp_path / "painted", train=10, test=2)
    if part == "validation":
        for kind in ("images", "labels"):
            shutil.copytree(source / kind / "test", source / kind / "val")
    for label in (source / "labels" / {"test": "test", "validation": "val"}[part]).iterdir():
        label.write_text("")
    (tmp_path / "data").mkdir()
    subject = Subject(
        preset="demo", settings=replace(TINY, hold_out=0.2), data=source,
        val_split="val" if part == "validation" else None,
    )  # fmt: skip
    with pytest.raises(DatasetError, match=f"none of the {count} {part} images has an object"):
        prepare_data(tmp_path / "data", subject)
