from pathlib import Path

import pytest

from yoloprune.errors import UsageError
from yoloprune.workflows.data_sets import check_data, fit_anchors, reference, split_data


def test_a_data_set_is_checked_cleaned_and_divided(painted: Path, tmp_path: Path) -> None:
    checked = check_data(str(painted), clean_copy=tmp_path / "clean")
    assert not checked.check.findings
    assert "nothing is wrong" in str(checked)
    assert (tmp_path / "clean").is_dir()
    with pytest.raises(UsageError, match="not empty"):
        check_data(painted, clean_copy=tmp_path / "clean")
    divided = split_data(painted, tmp_path / "split", val=0.2)
    splits = divided.shown().document["splits"]
    assert sum(split["images"] for split in splits.values()) == 20
    with pytest.raises(UsageError, match="add up to 1"):
        split_data(painted, tmp_path / "no", val=1.5)


def test_anchors_fit_better_than_coco_s(painted: Path) -> None:
    found = fit_anchors(painted, 3, against=reference(side=64))
    assert found.anchors.shape == (3, 2)
    assert found.after.mean_iou > found.before.mean_iou
    assert "anchors = " in str(found)
