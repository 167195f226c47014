"""The study's figures as tables, Markdown and JSON."""

import json

import numpy as np

from tests.report.published import PUBLISHED, ROW_KEYS, study_of
from yoloprune.report.markdown import report_json, report_markdown
from yoloprune.report.results import accuracy_tables, latency_table, results_table
from yoloprune.report.study import Accuracy, Measurement


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
