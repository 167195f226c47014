"""Folders of pruning that are read again: only what the plan makes of the dense network passes."""

from pathlib import Path

import numpy as np
import pytest

from yoloprune.errors import (
    PlanError,
    VerificationError,
)
from yoloprune.frontends.darknet.document import model
from yoloprune.frontends.darknet.initialization import random_state
from yoloprune.frontends.darknet.zoo import yolov3_tiny
from yoloprune.graph.model import Model
from yoloprune.workflows.prune import prune
from yoloprune.workflows.pruned_folder import read_cut


def test_what_was_changed_is_not_proven(dense: Model, tmp_path: Path) -> None:
    out = tmp_path / "slim"
    prune(dense, {"macs": 0.5}).save(out)
    data = (out / "slim.weights").read_bytes()
    (out / "slim.weights").write_bytes(data[:-4] + np.float32(3).tobytes())
    with pytest.raises(VerificationError, match="relative error"):
        read_cut(out, dense)
    (out / "slim.weights").write_bytes(data)
    text = (out / "slim.cfg").read_text()
    (out / "slim.cfg").write_text(text.replace("activation=leaky", "activation=relu", 1))
    with pytest.raises(VerificationError, match="not the network that the plan makes"):
        read_cut(out, dense)


def test_a_plan_of_another_network_is_refused(dense: Model, tmp_path: Path) -> None:
    prune(dense, {"macs": 0.5}).save(tmp_path / "slim")
    spec = yolov3_tiny(classes=3, width=0.125, size=(64, 64))
    with pytest.raises(PlanError, match="another network"):
        read_cut(tmp_path / "slim", model(spec, random_state(spec), title="other"))
