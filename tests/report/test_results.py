from dataclasses import replace

import numpy as np

from tests.report import studies
from tests.report.published import PUBLISHED, study_of
from yoloprune.report.results import (
    accuracy_tables,
    cost_table,
    latency_table,
    page_table,
    results_table,
)
from yoloprune.report.study import Accuracy, Measurement, PrecisionRecall


def test_the_published_table_is_printed_as_it_was_published() -> None:
    table = results_table(PUBLISHED)
    columns = [table.header.index(name) for name in ("Params", "Size", "MACs", "Inference")]
    cost = [tuple(line[i] for i in columns) for line in table.rows]
    slim = ("10.9M (-82%)", "43.6MB (-82%)", "9.6B (-71%)", "7.7ms (-49%)")
    assert cost == [("61.5M", "246.4MB", "32.8B", "15.0ms"), slim, slim]
    maps = [line[table.header.index("mAP@0.5 (case-study)")] for line in table.rows]
    assert maps == ["0.7692", "0.7722 (+0.003)", "0.775 (+0.006)"]


def test_the_time_in_onnx_runtime_comes_first() -> None:
    study = studies.filled_study()
    table = results_table(study)
    assert table.header[5:7] == ("Inference", "In torch")
    assert table.rows[0][5:7] == ("7.5ms", "15.0ms")
    assert "in ONNX Runtime, on 1 thread of a CPU." in table.note


def test_times_of_a_gpu_are_not_said_to_be_of_a_cpu() -> None:
    study = studies.filled_study()
    rows = [
        replace(row, latency={"torch eager, CUDA": next(iter(row.latency.values()))})
        for row in study.measurements
    ]
    alone = latency_table(replace(study, measurements=rows))
    assert alone is not None and "thread" not in alone.note
    assert "thread" not in results_table(replace(study, measurements=rows)).note
    beside = [
        replace(row, latency=row.latency | old.latency)
        for row, old in zip(rows, study.measurements, strict=True)
    ]
    both = latency_table(replace(study, measurements=beside))
    assert both is not None
    assert "on 1 thread of a CPU or, where that is named, on a GPU; " in both.note


def test_changes_have_intervals_of_their_own_and_a_page_begins_with_them() -> None:
    study = studies.filled_study()
    table = results_table(study)
    dense, slim = (study.named(name) for name in ("Original", "Fine-tuned"))
    assert dense is not None and slim is not None
    bounds = slim.accuracy["case-study"].gain(dense.accuracy["case-study"])
    assert bounds is not None
    row = next(row for row in table.rows if row[0] == "Fine-tuned")
    changed = row[table.header.index("From the original")]
    # What rounds to nothing has no sign, which might be the wrong one.
    assert abs(bounds[1]) < 0.005
    assert changed == f"-0.01 [{bounds[0]:+.2f}, 0.00]"
    assert "From the original" not in results_table(PUBLISHED).header
    page, costs = page_table(study), cost_table(study)
    assert page.header[:3] == ("Network", "mAP@0.5 (case-study)", "From the original")
    assert costs is not None and {*costs.header} | {*page.header} == {*table.header}
    assert cost_table(study_of(Measurement(name="Original", params=1))) is None


def test_flops_are_twice_the_macs() -> None:
    table = results_table(PUBLISHED)
    assert [line[table.header.index("FLOPs")] for line in table.rows] == ["65.6B", "19.2B", "19.2B"]


def test_precision_and_recall_are_those_of_the_best_f1() -> None:
    curve = PrecisionRecall(precision=np.array([1.0, 0.9, 0.5]), recall=np.array([0.3, 0.6, 0.7]))
    measured = Measurement(
        name="Original", accuracy={"case-study": Accuracy(map50=0.6, curve=curve)}
    )
    (table,) = accuracy_tables(study_of(measured))
    assert table.rows == (("Original", "0.600", "0.900", "0.600"),)


def test_every_latency_has_median_and_p95_and_whether_it_follows_macs() -> None:
    table = latency_table(PUBLISHED)
    assert table is not None
    assert table.header == ("Network", "GPU, median", "GPU, p95")
    # Nobody says on how many threads of what.
    assert "thread" not in table.note
    assert table.rows[1] == ("Pruned", "7.7ms (-49%)", "7.7ms")
    assert "GPU: 1.9 times as fast with 3.4 times fewer MACs. Time follows the MACs." in table.note
