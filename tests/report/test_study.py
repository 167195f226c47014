"""The study's figures as tables, Markdown and JSON."""

import json
from dataclasses import replace

import numpy as np
import pytest

from tests.report import studies
from yoloprune.engines.benchmark import Latency
from yoloprune.report.markdown import report_json, report_markdown
from yoloprune.report.results import accuracy_tables, latency_table, results_table
from yoloprune.report.study import Accuracy, DatasetSummary, Measurement, PrecisionRecall, Study
from yoloprune.report.table import amount, file_size
from yoloprune.report.wording import average, headline, timed

ROW_KEYS = [
    *("name", "params", "macs", "weight_bytes", "latency_ms"),
    *("map50", "map50_coco", "map50_95"),
]


def row(
    name: str, params: float, size: float, macs: float, milliseconds: float, map50: float
) -> Measurement:
    return Measurement(
        name=name,
        params=round(params * 1e6),
        weight_bytes=round(size * 1e6),
        macs=round(macs * 1e9),
        latency={"GPU": Latency(median=milliseconds, p95=milliseconds, runs=1)},
        accuracy={"case-study": Accuracy(map50=map50)},
    )


def study_of(*measurements: Measurement) -> Study:
    data = DatasetSummary(name="data", images={"test": 821}, objects={"test": 1}, classes=("hand",))
    return Study(title="A study", dataset=data, measurements=measurements)


PUBLISHED = study_of(
    row("Original", 61.5, 246.4, 32.8, 15.0, 0.7692),
    row("Pruned", 10.9, 43.6, 9.6, 7.7, 0.7722),
    row("Fine-tuned", 10.9, 43.6, 9.6, 7.7, 0.775),
)
"""The published table of the case study."""


def test_the_published_table_is_printed_as_it_was_published() -> None:
    table = results_table(PUBLISHED)
    columns = [table.header.index(name) for name in ("Params", "Size", "MACs", "Inference")]
    cost = [tuple(line[i] for i in columns) for line in table.rows]
    slim = ("10.9M (-82%)", "43.6MB (-82%)", "9.6B (-71%)", "7.7ms (-49%)")
    assert cost == [("61.5M", "246.4MB", "32.8B", "15.0ms"), slim, slim]
    maps = [line[table.header.index("mAP@0.5 (case-study)")] for line in table.rows]
    assert maps == ["0.7692", "0.7722 (+0.003)", "0.775 (+0.006)"]


def test_flops_are_twice_the_macs() -> None:
    table = results_table(PUBLISHED)
    assert [line[table.header.index("FLOPs")] for line in table.rows] == ["65.6B", "19.2B", "19.2B"]


def test_the_outcome_in_a_sentence() -> None:
    assert headline(PUBLISHED) == (
        "The fine-tuned network has 10.9M of 61.5M parameters, needs 9.6B of 32.8B MACs (29%), "
        "takes 7.7ms instead of 15.0ms for an image and reaches mAP@0.5 0.775 (protocol "
        "case-study) where the original has 0.7692."
    )
    assert headline(study_of(PUBLISHED.measurements[0])).startswith("The study has not")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (amount(61_523_734), "61.5M"),
        (amount(999_960), "1.0M"),
        (amount(812), "812"),
        (file_size(1_234_000_000), "1.2GB"),
        (file_size(43_600), "43.6KB"),
        (timed(0.42), "0.42ms"),
        (average(0.5), "0.500"),
        (average(0.77216), "0.7722"),
    ],
)
def test_numbers(text: str, expected: str) -> None:
    assert text == expected


def test_rows_of_report_json() -> None:
    study = studies.filled_study()
    document = json.loads(json.dumps(report_json(study), allow_nan=False))
    names = [line["name"] for line in document["rows"]]
    assert names == ["Original", "Pruned", "Fine-tuned", "Scratch"]
    for line, measured in zip(document["rows"], study.measurements, strict=True):
        assert list(line) == ROW_KEYS
        assert line["params"] == measured.params
        assert line["latency_ms"] == measured.latency["torch eager"].median
        assert line["map50"] == measured.accuracy["case-study"].map50
        assert line["map50_coco"] == measured.accuracy["coco"].map50
        assert line["map50_95"] == measured.accuracy["coco"].map50_95
    assert document["commands"][0]["seed"] == 0
    assert document["checks"][0]["relative_error"] == 3.2e-15
    assert document["channels"]["0"]["dense"] > document["channels"]["0"]["slim"]


def test_what_was_not_measured_is_missing_everywhere() -> None:
    study = study_of(
        PUBLISHED.measurements[0],
        Measurement(name="Pruned", params=5, accuracy={"case-study": Accuracy(map50=np.nan)}),
    )
    document = json.loads(json.dumps(report_json(study), allow_nan=False))
    assert document["rows"][1] == dict.fromkeys(ROW_KEYS) | {"name": "Pruned", "params": 5}
    assert results_table(study).rows[1][2:] == ("–",) * 5  # noqa: RUF001
    assert "| Pruned | 5 (-100%) | – |" in report_markdown(study)  # noqa: RUF001
    assert latency_table(study_of(Measurement(name="Original"))) is None
    assert accuracy_tables(study_of(Measurement(name="Original"))) == []


def test_protocols_stand_apart() -> None:
    text = report_markdown(studies.filled_study())
    case_study, coco = text.index("### Protocol case-study"), text.index("### Protocol coco")
    assert case_study < text.index("0.760 (-0.010)", case_study) < coco
    assert coco < text.index("0.740 (-0.010)") and "0.740" not in text[:coco]


def test_precision_and_recall_are_those_of_the_best_f1() -> None:
    curve = PrecisionRecall(precision=np.array([1.0, 0.9, 0.5]), recall=np.array([0.3, 0.6, 0.7]))
    measured = Measurement(
        name="Original", accuracy={"case-study": Accuracy(map50=0.6, curve=curve)}
    )
    (table,) = accuracy_tables(study_of(measured))
    assert table.rows == (("Original", "0.600", "0.900", "0.600"),)


def test_every_latency_has_median_and_p95_and_what_binds() -> None:
    table = latency_table(PUBLISHED)
    assert table is not None
    assert table.header == ("Network", "GPU, median", "GPU, p95")
    assert table.rows[1] == ("Pruned", "7.7ms (-49%)", "7.7ms")
    assert "GPU: 1.9 times as fast with 3.4 times fewer MACs" in table.note


def test_markdown_has_the_whole_study() -> None:
    text = report_markdown(studies.filled_study())
    for part in (
        "slim = masked dense | holds | 3.2e-15 | 1e-12 | float64, 4 images of noise",
        "# the original (seed 0)\nyoloprune train net.cfg --seed 0\n",
        "./darknet detector test slim.data slim.cfg slim.weights photo.jpg",
        "cv2.dnn.DetectionModel",
        "onnxruntime.InferenceSession",
        "| budget.keep_macs | 0.3 |",
        "| packages.torch | 2.13.0 |",
        "- Scratch: the slim architecture",
    ):
        assert part in text


def test_markdown_cells_hold_any_text() -> None:
    study = replace(PUBLISHED, settings={"a|b": "<script>\nx", "fence": "`"})
    assert "| a\\|b | &lt;script> x |" in report_markdown(study)
