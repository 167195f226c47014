"""Scores by what a network does on images."""

from pathlib import Path

import pytest

from tests.reporters import Heard
from yoloprune.graph.model import Model
from yoloprune.workflows.prune import prune


@pytest.mark.parametrize("criterion", ["reconstruction", "activation", "taylor"])
def test_criteria_that_look_at_images(dense: Model, photos: Path, criterion: str) -> None:
    (photos / "03.txt").write_text("1 0.5 0.5 0.25 0.5\n")
    cuts = [prune(dense, {"macs": 0.7}, criterion=criterion, images=photos) for _ in range(2)]
    assert cuts[0].plan == cuts[1].plan
    assert cuts[0].settings["verification_images"] == 4
    assert cuts[0].plan.keep != prune(dense, {"macs": 0.7}).plan.keep
    # Unreadable images are skipped, for the proof as for the scores.
    (photos / "damaged.png").rename(photos / "00-first.png")
    heard = Heard()
    prune(dense, {"macs": 0.7}, criterion=criterion, images=photos, reporter=heard)
    assert [w for w in heard.warnings if "could not be read" in w] == [
        "1 image could not be read: skipped"
    ]
