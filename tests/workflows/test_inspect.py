"""What a network is made of, and what a data set holds, through Python."""

import json
from pathlib import Path

import pytest

from yoloprune.errors import UsageError
from yoloprune.frontends.darknet.cost import cost
from yoloprune.frontends.darknet.document import darknet
from yoloprune.frontends.darknet.parser import read_cfg
from yoloprune.graph.model import Model
from yoloprune.workflows.data_sets import check_data, fit_anchors, reference, split_data
from yoloprune.workflows.inspect import inspect


def test_a_network_is_shown_with_and_without_weights(dense: Model, tmp_path: Path) -> None:
    alone, whole = inspect(tmp_path / "dense.cfg"), inspect(dense)
    assert alone.dead is None and whole.dead is not None
    document = json.loads(json.dumps(whole.shown().document))
    assert document["macs"] == cost(darknet(dense).spec).macs
    assert len(document["layers"]) == len(read_cfg(tmp_path / "dense.cfg").layers)
    assert "dead_channels" in document["groups"][0]
    assert "dead_channels" not in alone.shown().document["groups"][0]
    assert "prunable groups" in repr(alone) and "\n" not in repr(alone)
    assert "| Group |" in str(whole) and "<table>" in whole._repr_html_()


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
