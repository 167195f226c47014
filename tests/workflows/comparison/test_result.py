"""The table that comparing comes to: means and deviations over seeds, mAP twice."""

import statistics
from dataclasses import replace

import numpy as np

from yoloprune.data.inputs import image_input
from yoloprune.engines.benchmark import latency_of
from yoloprune.evaluation.average_precision import PrecisionRecall
from yoloprune.evaluation.evaluator import SHOWN, Evaluation
from yoloprune.graph.model import Model
from yoloprune.workflows.comparison.result import Compared, Comparison
from yoloprune.workflows.comparison.tool import Made
from yoloprune.workflows.judges import ACCURACY, Judge


def evaluation(map50: float, shown: float) -> Evaluation:
    nothing = np.zeros(0)
    return Evaluation(
        protocol="coco",
        map50=map50,
        map50_95=None,
        map50_shown=shown,
        per_class=(),
        precision=0.0,
        recall=0.0,
        curve=PrecisionRecall(precision=nothing, recall=nothing),
    )


def row(network: Model, tool: str, seed: int | None, map50: float, shown: float) -> Compared:
    return Compared(
        tool=tool,
        share=0.7,
        made=Made(slim=network, exact="yes"),
        kept=0.69,
        error=0.5,
        evaluation=evaluation(map50, shown),
        seed=seed,
    )


def test_what_is_no_faster_is_said(detector: Model) -> None:
    first, slow, fast = (row(detector, name, None, 0.5, 0.4) for name in ("dense", "slow", "fast"))

    def taking(found: Compared, milliseconds: float) -> Compared:
        return replace(found, latency=latency_of([milliseconds] * 3))

    def lines(*rows: Compared) -> list[str]:
        shown = Comparison(
            network=detector, dense=taking(first, 10), rows=rows, runs=3, images="noise", judge=None
        ).shown()
        return [line for line in shown.lines if "no faster" in line]

    assert not lines(taking(fast, 7))
    (line,) = lines(taking(fast, 7), taking(slow, 16))
    assert "slow at 0.7" in line and "fast" not in line.split("(")[0].replace("faster", "")
    assert "--round-to 8" in line


def test_both_figures_of_map_are_told_over_seeds(detector: Model) -> None:
    judge = Judge(
        measure=ACCURACY,
        judge=lambda network: 0.0,
        images=4,
        paths=(),
        split="test",
        others=lambda: (),
        reads=image_input(detector, None),
        decoder=None,
    )
    found = Comparison(
        network=detector,
        dense=row(detector, "dense", None, 0.5, 0.4),
        rows=(
            row(detector, "ours", 0, 0.3, 0.2),
            row(detector, "ours", 1, 0.4, 0.1),
            Compared(tool="other", share=0.7, remark="it fails"),
        ),
        runs=1,
        images="noise",
        judge=judge,
    )
    shown = found.shown()
    assert tuple(shown.header[5:7]) == (ACCURACY, SHOWN)
    deviation = statistics.stdev([0.3, 0.4])
    assert [cells[5:7] for cells in shown.rows] == [
        ["0.500", "0.400"],
        [f"0.350 ± {deviation:.3f}", f"0.150 ± {deviation:.3f}"],
        ["-", "-"],
    ]
    assert "ours at 0.7 with mAP@0.5 0.400" in shown.summary
    assert "other at 0.7: it fails" in shown.lines
    assert [each["map50_shown"] for each in shown.document["rows"]] == [0.2, 0.1, None]
    assert [each.name for each in found.rows[:2]] == ["ours-0.7-seed-0", "ours-0.7-seed-1"]
