"""Evaluation as Python users call it: models or paths, in any engine."""

from pathlib import Path

import pytest

from tests.reporters import Heard
from tests.workflows.detectors import cfg, data  # noqa: F401
from yoloprune.data.read import read_dataset
from yoloprune.errors import DatasetError, UsageError
from yoloprune.evaluation.protocols import coco
from yoloprune.workflows.detectors import detector
from yoloprune.workflows.evaluate import evaluate
from yoloprune.workflows.models import load


def test_paths_and_what_is_read_already_are_the_same(cfg: Path, data: Path) -> None:  # noqa: F811
    heard = Heard()
    found = evaluate(str(cfg), str(data), reporter=heard)
    assert found.map50 == pytest.approx((1 + 51 / 101) / 2)
    assert heard.tracked == ["evaluating"]
    dataset = read_dataset(data, classes=2)
    assert evaluate(load(cfg), dataset) == found
    assert evaluate(detector(cfg, engine="opencv"), dataset) == found
    assert evaluate(cfg, data, protocol="case-study").map50 == pytest.approx(0.75)
    assert evaluate(cfg, data, protocol=coco(threshold=0.99999)).map50 == 0
    assert evaluate(cfg, data, limit=1).map50 == pytest.approx(1)


def test_it_shows_itself(cfg: Path, data: Path) -> None:  # noqa: F811
    shown = evaluate(cfg, data).shown()
    assert shown.summary == (
        "coco: mAP@0.5 0.7525, mAP@0.5:0.95 0.7525, precision 1.0000, recall 0.7500, "
        "mAP@0.5 above 0.25 0.7525"
    )
    assert shown.rows[1] == ("class 1", 2, "0.5050", "0.5050")
    assert "curve" not in shown.document
    assert evaluate(cfg, data, protocol="case-study").shown().rows[1][2:] == ("0.5000", "-")


def test_what_is_not_known_is_said(cfg: Path, data: Path) -> None:  # noqa: F811
    with pytest.raises(UsageError, match="protocol 'voc' is not known: choose one of case-study"):
        evaluate(cfg, data, protocol="voc")
    with pytest.raises(UsageError, match="OpenCV runs on cpu here, not on meta"):
        evaluate(cfg, data, engine="opencv", device="meta")
    with pytest.raises(DatasetError, match="gone"):
        evaluate(cfg, data / "gone")
