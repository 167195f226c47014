"""Blocks against channels: what comes nearer to the dense network is taken."""

from pathlib import Path

import pytest

from tests.reporters import Heard
from tests.workflows.test_depth import residual_network
from yoloprune.data.calibration import read_calibration
from yoloprune.errors import PlanError
from yoloprune.workflows.prune import prune
from yoloprune.workflows.prune_depth import prune_with_depth
from yoloprune.workflows.recover import recover


def test_the_nearest_of_all_depths_is_given(photos: Path) -> None:
    network, heard = residual_network(), Heard()
    calibration = read_calibration(network, photos, 8, 0, heard, None)
    cut = prune_with_depth(network, {"macs": 0.4}, calibration, multiple_of=1, reporter=heard)
    tried = cut.settings["error_by_blocks_removed"]
    assert set(tried) == {"0", "1"}
    assert cut.recovery is not None
    assert cut.recovery["heads"]["after"][0] == pytest.approx(min(tried.values()), abs=1e-4)
    assert len(cut.plan.blocks) == int(min(tried, key=lambda own: tried[own]))
    assert any("without 1 block: error at the outputs" in line for line in heard.lines)
    width = recover(prune(network, {"macs": 0.4}, multiple_of=1), calibration)
    assert width.recovery is not None
    assert width.recovery["heads"]["after"][0] == pytest.approx(tried["0"], abs=1e-4)


def test_a_budget_that_no_depth_meets_is_refused(photos: Path) -> None:
    network = residual_network()
    calibration = read_calibration(network, photos, 8, 0, Heard(), None)
    with pytest.raises(PlanError, match="the budget cannot be met"):
        prune_with_depth(network, {"macs": 0.001}, calibration)
