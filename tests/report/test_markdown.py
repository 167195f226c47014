import json
from dataclasses import replace

from tests.report import studies
from tests.report.published import PUBLISHED, ROW_KEYS
from yoloprune.report.markdown import report_json, report_markdown


def test_rows_of_report_json() -> None:
    study = studies.filled_study()
    document = json.loads(json.dumps(report_json(study), allow_nan=False))
    names = [line["name"] for line in document["rows"]]
    assert names == ["Original", "Pruned", "Fine-tuned", "Scratch"]
    for line, measured in zip(document["rows"], study.measurements, strict=True):
        assert list(line) == ROW_KEYS
        assert line["params"] == measured.params
        assert line["latency_ms"] == measured.latency["ONNX Runtime"].median
        assert line["map50"] == measured.accuracy["case-study"].map50
        assert line["map50_coco"] == measured.accuracy["coco"].map50
        assert line["map50_95"] == measured.accuracy["coco"].map50_95
    assert document["commands"][0]["seed"] == 0
    assert document["checks"][0]["relative_error"] == 3.2e-15
    assert document["channels"]["0"]["dense"] > document["channels"]["0"]["slim"]


def test_protocols_stand_apart() -> None:
    text = report_markdown(studies.filled_study())
    case_study, coco = text.index("### Protocol case-study"), text.index("### Protocol coco")
    assert case_study < text.index("| -0.01 [", case_study) < coco
    assert coco < text.index("| 0.74 [") and "| 0.74 [" not in text[:coco]


def test_markdown_has_the_whole_study() -> None:
    text = report_markdown(studies.filled_study())
    for part in (
        "slim = masked dense | holds | 3.2e-15 | 1e-12 | float64, 4 images of noise",
        "# the original (seed 0)\nyoloprune train net.cfg --seed 0\n",
        "./darknet detector test slim.data slim.cfg slim.weights photo.jpg",
        "cv2.dnn.DetectionModel",
        "onnxruntime.InferenceSession",
        "| Budget: kept MACs | 0.3 |",
        "| Packages: torch | 2.13.0 |",
        "- Scratch: the slim architecture",
    ):
        assert part in text


def test_markdown_cells_hold_any_text() -> None:
    study = replace(PUBLISHED, settings={"a|b": "<script>\nx", "fence": "`"})
    assert "| A\\|b | &lt;script> x |" in report_markdown(study)
