from pathlib import Path

from yoloprune.errors import PlanError
from yoloprune.reporter import SILENT
from yoloprune.workflows.comparison.own import L2, OURS
from yoloprune.workflows.comparison.tool import Made, Task
from yoloprune.workflows.models import load


def test_a_share_that_cannot_be_met_is_an_outcome_among_others(net: Path, tmp_path: Path) -> None:
    task = Task(
        dense=load(net), shares=(0.7, 1e-9, 0.6), calibration=None, multiple_of=1, seed=0,
        device="cpu", work=tmp_path, reporter=SILENT,
    )  # fmt: skip
    first, refused, last = L2.make(task)
    assert isinstance(refused, PlanError)
    for made, share in ((first, 0.7), (last, 0.6)):
        assert isinstance(made, Made) and made.exact == "yes" and made.cut is not None
        assert made.slim.cost.macs <= share * task.dense.cost.macs
    # Without images, ours is the same.
    ours = next(iter(OURS.make(task)))
    assert isinstance(ours, Made) and isinstance(first, Made)
    assert ours.cut is not None and first.cut is not None
    assert ours.cut.plan.keep == first.cut.plan.keep
