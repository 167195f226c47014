"""The published table of the case study."""

from yoloprune.engines.benchmark import Latency
from yoloprune.report.study import Accuracy, DatasetSummary, Measurement, Study

ROW_KEYS = [
    *("name", "params", "macs", "weight_bytes", "latency_ms"),
    *("map50", "map50_coco", "map50_95", "seconds"),
]
"""Of a row of report.json."""


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
