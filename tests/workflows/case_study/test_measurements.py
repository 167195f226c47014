import json
import math
from pathlib import Path

import pytest

from yoloprune.errors import RunError
from yoloprune.workflows.case_study.measurements import read_accuracy


def test_the_curve_is_the_case_studys_and_has_two_sides(tmp_path: Path) -> None:
    figures = {
        "map50": 0.5, "map50_95": None, "curve": {"precision": [1.0, 0.5], "recall": [0.1, 0.2]}
    }  # fmt: skip
    path = tmp_path / "original.json"
    path.write_text(json.dumps({"case-study": figures, "coco": figures | {"map50_95": 0.25}}))
    found = read_accuracy(path)
    assert (found["case-study"].map50, found["coco"].map50_95) == (0.5, 0.25)
    assert found["case-study"].curve is not None and found["coco"].curve is None
    assert found["case-study"].curve.recall.tolist() == [0.1, 0.2]
    path.write_text(json.dumps({"coco": figures | {"curve": {"precision": [1.0], "recall": []}}}))
    with pytest.raises(RunError, match="as many recalls as precisions"):
        read_accuracy(path)
    path.write_text(json.dumps({"coco": figures}))
    with pytest.raises(
        RunError, match=r"original\.json: damaged: it lacks the protocol case-study"
    ):
        read_accuracy(path)
    details = {"objects": [1], "hits": [1], "false_alarms": [0], "draws": [math.nan]}
    for wrong in ({"map50": 7.0}, {"map50": math.nan}, {"map50_95": -1.0}, {"details": details}):
        path.write_text(json.dumps({"case-study": figures | wrong, "coco": figures}))
        with pytest.raises(RunError, match=r"original\.json: damaged.*mAP"):
            read_accuracy(path)
