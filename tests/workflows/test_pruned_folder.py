"""Folders of pruning that are read again: only what the plan makes of the dense network passes."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.frontends.onnx.models import loaded, residual
from yoloprune.errors import PlanError, VerificationError
from yoloprune.frontends.darknet.document import model
from yoloprune.frontends.darknet.initialization import random_state
from yoloprune.frontends.darknet.zoo import yolov3_tiny
from yoloprune.frontends.onnx.resized import image_size
from yoloprune.graph.model import Model
from yoloprune.report.pruning import cost_rows
from yoloprune.workflows.models import sized
from yoloprune.workflows.prune import prune
from yoloprune.workflows.pruned_folder import read_cut
from yoloprune.workflows.recover import recover
from yoloprune.workflows.verify import verify


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


@pytest.mark.parametrize("door", ["darknet", "onnx"])
def test_a_network_for_images_of_another_size_is_that_of_the_one_given(
    door: str, detector: Model, painted: Path, photos: Path, tmp_path: Path
) -> None:
    given, seen, side = detector, painted, 32
    if door == "onnx":
        given, seen, side = loaded(residual(), tmp_path), photos, 24
    small = sized(given, side, side)
    cut = recover(prune(small, {"macs": 0.6}, multiple_of=1), seen, calibration_images=4)
    cut.save(tmp_path / "slim")
    again = read_cut(tmp_path / "slim", given)
    assert again.origin is again.before is given
    assert image_size(again.dense) == image_size(again.slim) == (side, side)
    rows = {row[0]: row[1:] for row in again.shown().rows}
    assert [*rows] == ["Dense", f"At {side}x{side}", "Slim", "Change"]
    assert rows["Dense"] == cost_rows(given, given)[0][1:]
    assert "verified" in verify(given, tmp_path / "slim").shown().summary
    again.save(tmp_path / "copy")
    assert f"At {side}x{side}" in (tmp_path / "copy" / "report.md").read_text()
    # Another network stays another one, whatever its size.
    other = replace(given, parameters={n: 2 * array for n, array in given.parameters.items()})
    with pytest.raises((PlanError, VerificationError)):
        read_cut(tmp_path / "slim", other)
