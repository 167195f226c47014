"""Small steps go as far as a single one."""

from pathlib import Path

import pytest

from yoloprune.errors import PlanError
from yoloprune.frontends.darknet.cost import cost
from yoloprune.frontends.darknet.document import model
from yoloprune.frontends.darknet.initialization import random_state
from yoloprune.frontends.darknet.zoo import yolov3_tiny
from yoloprune.pruning.choices import Scope
from yoloprune.reporter import SILENT
from yoloprune.workflows.models import load
from yoloprune.workflows.schedule import step_targets
from yoloprune.workflows.steps import ChannelSteps


def test_small_steps_reach_the_target_through_large_roundings(tmp_path: Path) -> None:
    spec = yolov3_tiny(classes=1, width=0.0625, size=(32, 32))
    network = model(spec, random_state(spec), title="dense")
    channels = ChannelSteps(
        dense_macs=cost(spec).macs,
        criterion="l2",
        scope=Scope.GLOBAL,
        multiple_of=16,
        seed=0,
        calibration=None,
        reconstruct=False,
    )
    with pytest.raises(PlanError, match="would fit"):
        channels.check(network, 0.5)
    channels.check(network, 0.8)
    kept = []
    for number, share in enumerate(step_targets(0.02, 0.8), start=1):
        folder = tmp_path / str(number)
        folder.mkdir()
        channels.write(folder, network, share, number, SILENT)
        network = load(folder)
        kept.append(channels.kept(network))
        assert kept[-1] <= share
    # The step before had gone as far already: nothing is removed, and nothing fails.
    assert kept[-1] == kept[-2]
