from pathlib import Path

import numpy as np
import pytest

from tests.color_detector import GREEN_OBJECT, paint
from tests.workflows.detectors import cfg, data  # noqa: F401
from yoloprune.errors import DatasetError
from yoloprune.evaluation.evaluator import evaluate
from yoloprune.evaluation.own_detections import own_detections
from yoloprune.workflows.detectors import detector


def test_what_is_found_is_the_truth(cfg: Path, data: Path) -> None:  # noqa: F811
    (data / "c.png").write_bytes(b"no image")
    network = detector(cfg)
    found = own_detections(network, sorted(data.glob("*.png")))
    assert [image.labels.tolist() for image in found.images] == [[0, 1], [0]]
    assert np.allclose(found.images[1].boxes, [[0.25, 0.25, 0.5, 0.5]], atol=1e-3)
    assert found.names == ("0", "1")
    assert evaluate(network, found).map50 == 1


def test_nothing_found_is_no_truth(cfg: Path, tmp_path: Path) -> None:  # noqa: F811
    paint(tmp_path / "black.png", (32, 32), {})
    with pytest.raises(DatasetError, match="finds nothing"):
        own_detections(detector(cfg), [tmp_path / "black.png"])
    paint(tmp_path / "green.png", (32, 32), {(0, 0): GREEN_OBJECT})
    assert own_detections(detector(cfg), [tmp_path / "green.png"], ["a", "b"]).names == ("a", "b")
