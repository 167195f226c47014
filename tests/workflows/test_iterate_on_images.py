"""Steps without training: on any network, resumed as runs with training are."""

import shutil
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import pytest

from tests.frontends.onnx.models import residual
from yoloprune.errors import RunError, UsageError
from yoloprune.graph.model import Model
from yoloprune.workflows import steps as stages
from yoloprune.workflows.iterate import Iterated
from yoloprune.workflows.iterate_on_images import iterate_on_images
from yoloprune.workflows.models import load
from yoloprune.workflows.pruned_folder import read_cut
from yoloprune.workflows.recover import recover


@pytest.fixture
def net(tmp_path: Path) -> Path:
    onnx.save_model(residual(), tmp_path / "net.onnx")
    return tmp_path / "net.onnx"


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for number, photo in enumerate(np.random.default_rng(0).integers(0, 256, (6, 16, 16, 3))):
        cv2.imwrite(str(folder / f"{number}.png"), photo)
    return folder


def steps(network: Model | Path, photos: Path, out: Path, **more: Any) -> Iterated:
    """Two steps, unless asked otherwise."""
    settings = {"keep_macs": 0.6, "step": 0.2, "multiple_of": 1, "calibration_images": 4}
    return iterate_on_images(network, photos, out, **{**settings, **more})


def test_each_step_is_a_folder_of_prune_and_better_than_without_its_refit(
    net: Path, photos: Path, tmp_path: Path
) -> None:
    out = tmp_path / "steps"
    found = steps(net, photos, out)
    assert found.measure == "error at the outputs" and found.accuracies[0] == 0
    assert found.kept[0] == 1 and found.kept[1] <= 0.8 and found.kept[2] <= 0.6
    dense = load(net)
    for number, before in ((1, dense), (2, load(out / "step-01"))):
        cut = read_cut(out / f"step-0{number}", before)
        assert cut.recovery is not None and cut.recovery["images"] == 4
        assert cut.plan.criterion == "reconstruction"
        before_refit, after = (sum(cut.recovery["heads"][when]) for when in ("before", "after"))
        assert after < before_refit
    best = load(out)
    assert best.document.source[0] == out / "best.onnx"
    assert best.cost.macs / dense.cost.macs == found.kept[2]
    assert found.step == 2 and "best.onnx is the last good network, of step 2" in repr(found)


def test_a_run_that_was_killed_ends_with_the_same_network(
    net: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = steps(net, photos, tmp_path / "whole")
    out, done = tmp_path / "steps", []

    def dying(*arguments: Any, **more: Any) -> Any:
        done.append(1)
        if len(done) == 2:
            raise KeyboardInterrupt
        return recover(*arguments, **more)

    with monkeypatch.context() as patch:
        patch.setattr(stages, "recover", dying)
        with pytest.raises(KeyboardInterrupt):
            steps(net, photos, out)
    assert (out / "step-01" / "evaluated").exists() and (out / "best.onnx").exists()
    with pytest.raises(RunError, match="give `resume`"):
        steps(net, photos, out)
    again = steps(net, photos, out, resume=True)
    assert again.accuracies == whole.accuracies
    for name in ("best.onnx", "step-01/slim.onnx", "step-02/slim.onnx", "step-02/plan.json"):
        assert (out / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name
    # What is finished is not made again, and what has changed since is noticed.
    monkeypatch.setattr(stages, "recover", None)
    steps(net, photos, out, resume=True)
    (out / "step-01" / "slim.onnx").write_bytes((out / "best.onnx").read_bytes())
    with pytest.raises(RunError, match="not the file that was made here"):
        steps(net, photos, out, resume=True)


def test_a_run_that_was_started_otherwise_is_refused(
    net: Path, photos: Path, tmp_path: Path
) -> None:
    run = partial(steps, net, photos, tmp_path / "steps", resume=True)
    run()
    for changed in ({"step": 0.3}, {"criterion": "l2"}, {"seed": 1}, {"keep_macs": 0.5}):
        with pytest.raises(RunError, match=f"with another {next(iter(changed))}"):
            run(**changed)
    cv2.imwrite(str(photos / "0.png"), np.zeros((16, 16, 3), np.uint8))
    with pytest.raises(RunError, match="another images"):
        run()


def test_it_stops_above_an_error_and_keeps_the_network_before(
    net: Path, photos: Path, tmp_path: Path
) -> None:
    free = steps(net, photos, tmp_path / "free").accuracies
    assert 0 < free[1] < free[2]
    ceiling = (free[1] + free[2]) / 2
    out = tmp_path / "steps"
    found = steps(net, photos, out, error_ceiling=ceiling)
    assert (found.step, found.accuracies) == (1, free)
    assert load(out).cost.macs == load(out / "step-01").cost.macs
    shutil.rmtree(out)
    with pytest.raises(UsageError, match="`map_floor` needs `data`"):
        steps(net, photos, out, map_floor=0.1)
    assert not out.exists()


def test_a_darknet_pair_goes_in_steps_too(detector: Model, photos: Path, tmp_path: Path) -> None:
    found = steps(detector, photos, tmp_path / "steps", keep_macs=0.7, step=0.15)
    assert (tmp_path / "steps" / "best.cfg").exists() and found.step == 2
    best, dense = load(tmp_path / "steps"), detector
    assert read_cut(tmp_path / "steps" / "step-01", dense).recovery is not None
    assert best.cost.macs / dense.cost.macs == found.kept[2] <= 0.7
