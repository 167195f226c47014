"""Blocks against channels: what comes nearer to the dense network is taken."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.reporters import Heard
from tests.workflows.test_depth import residual_network
from yoloprune.data.calibration import given_calibration, read_calibration
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


def test_the_number_of_blocks_is_found_on_a_few_images() -> None:
    network, heard = residual_network(), Heard()
    (given,) = network.graph.inputs.values()
    images = torch.rand(40, *given.shape[1:], generator=torch.Generator().manual_seed(0))
    calibration = given_calibration(images)
    cut = prune_with_depth(network, {"macs": 0.4}, calibration, multiple_of=1, reporter=heard)
    tried = cut.settings["error_by_blocks_removed"]
    fits = [line.split(":")[0] for line in heard.lines if line.startswith("recovering with")]
    assert fits == [*["recovering with 16 images"] * len(tried), "recovering with 35 images"]
    # As without a search, on all images, the blocks being known.
    known = prune(
        network,
        {"macs": 0.4},
        blocks=cut.plan.blocks,
        multiple_of=1,
        calibration=calibration,
        criterion="l2",
        refit=False,
    )
    assert recover(known, calibration).slim.sha256 == cut.slim.sha256
    # Each is judged by images that it has not seen.
    few = given_calibration(images[:18])
    few = replace(few, images=images[:16], unseen=images[16:32])
    same = recover(prune(network, {"macs": 0.4}, blocks=(), multiple_of=1, refit=False), few)
    assert same.recovery is not None
    assert same.recovery["heads"]["after"][0] == pytest.approx(tried["0"], abs=1e-4)


def test_a_budget_that_no_depth_meets_is_refused(photos: Path) -> None:
    network = residual_network()
    calibration = read_calibration(network, photos, 8, 0, Heard(), None)
    with pytest.raises(PlanError, match="the budget cannot be met"):
        prune_with_depth(network, {"macs": 0.001}, calibration)
