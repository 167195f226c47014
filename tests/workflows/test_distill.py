"""Distillation as a user calls it: on a folder of images, with what it did in the report."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from tests.reporters import Heard
from tests.workflows.test_depth import residual_network
from yoloprune.errors import DatasetError, UsageError
from yoloprune.graph.model import Model
from yoloprune.pruning.recover.errors import errors_of, outputs_on
from yoloprune.workflows.depth import removable
from yoloprune.workflows.distill import distill
from yoloprune.workflows.modules import load_module
from yoloprune.workflows.prune import prune
from yoloprune.workflows.pruned_folder import read_cut
from yoloprune.workflows.recover import recover
from yoloprune.workflows.report import write_page


def test_a_recovered_cut_is_distilled_and_its_folder_says_so(
    dense: Model, photos: Path, tmp_path: Path
) -> None:
    heard = Heard()
    cut = recover(prune(dense, {"macs": 0.7}), photos, calibration_images=8)
    found = distill(cut, photos, steps=4, batch_size=2, device="cpu", reporter=heard)
    assert any("4 steps of 2 images" in line for line in heard.lines)
    assert any("1 image could not be read" in warning for warning in heard.warnings)
    assert found.recovery is not None and found.recovery["method"] == "reconstruct"
    entry = found.recovery["distillation"]
    assert entry["curve"][0] == [0, pytest.approx(1)] and entry["left"] <= 1
    assert len(found.learned_from) == entry["images"] + entry["held_out"]
    again = distill(cut, photos, steps=4, batch_size=2, device="cpu")
    for name, array in found.slim.parameters.items():
        assert torch.equal(array, again.slim.parameters[name])
    found.save(tmp_path / "cut")
    report = json.loads((tmp_path / "cut" / "report.json").read_text())
    assert report["recovery"]["distillation"] == entry
    text = (tmp_path / "cut" / "report.md").read_text()
    assert "distilled in 4 steps of 2 images" in text
    # The curve: its last step, and what was left then.
    assert re.search(rf"^\|\s+4 \|\s+{entry['curve'][-1][1]:.3f} \|$", text, re.MULTILINE)
    study = write_page(dense, tmp_path / "cut")
    assert [list(point) for point in study.distillation] == entry["curve"]
    assert "Distillation, step by step" in (tmp_path / "cut" / "report.html").read_text()
    assert read_cut(tmp_path / "cut", dense).recovery == report["recovery"]


def test_what_is_judged_on_was_not_fitted_on(dense: Model, photos: Path) -> None:
    cut = prune(dense, {"macs": 0.7})
    count = sum(1 for _ in photos.glob("*.png"))
    for fitted, warned in ((4, 0), (count, 1)):
        heard = Heard()
        before = recover(cut, photos, calibration_images=fitted)
        assert len(before.learned_from) == min(fitted, count - 1)
        after = distill(before, photos, steps=1, batch_size=1, device="cpu", reporter=heard)
        assert sum("to judge by were fitted on" in line for line in heard.warnings) == warned
        assert after.recovery is not None and after.recovery["distillation"]["left"] <= 1


def test_minutes_become_steps_and_a_killed_run_keeps_them(
    dense: Model, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut = recover(prune(dense, {"macs": 0.7}), photos, calibration_images=4)
    monkeypatch.setattr("yoloprune.workflows.distill._steps", lambda *arguments: 3)
    path = tmp_path / "run.pt"
    found = distill(cut, photos, minutes=1, batch_size=2, device="cpu", checkpoint=path)
    # Another speed would give other steps: those of the checkpoint hold.
    monkeypatch.setattr("yoloprune.workflows.distill._steps", lambda *arguments: 9)
    again = distill(cut, photos, minutes=1, batch_size=2, device="cpu", checkpoint=path)
    assert again.recovery == found.recovery


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16])
def test_a_network_without_blocks_learns_from_the_one_that_has_them(
    photos: Path, dtype: torch.dtype
) -> None:
    network = residual_network()
    network = replace(network, parameters={n: a.to(dtype) for n, a in network.parameters.items()})
    cut = prune(network, {"macs": 1.0}, blocks=[removable(network)[0].reading])
    cut = recover(cut, photos)
    found = distill(cut, photos, steps=20, batch_size=2, learning_rate=3e-3, device="cpu")
    assert {array.dtype for array in found.slim.parameters.values()} == {dtype}
    images = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    whole = outputs_on(images, (network.graph, network.parameters))
    before, after = (
        errors_of(outputs_on(images, (each.graph, each.parameters)), whole)
        for each in (cut.slim, found.slim)
    )
    assert max(after) < max(before)


def test_a_module_in_double_is_distilled_on_a_folder(photos: Path) -> None:
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Conv2d(3, 16, 3, 2, 1), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 4, 3, 2, 1)
    ).double().eval()  # fmt: skip
    inputs = torch.rand(1, 3, 32, 32).double()
    network = load_module(module, inputs)
    cut = prune(network, {"macs": 0.6}, multiple_of=1, images=photos, calibration_images=4)
    found = distill(cut, photos, steps=20, batch_size=2, learning_rate=3e-3, device="cpu")
    assert found.recovery is not None and found.recovery["distillation"]["left"] < 1
    slim = found.apply(module)
    assert slim(inputs).dtype == torch.float64
    wanted = outputs_on(inputs, (found.slim.graph, found.slim.parameters))[0]
    torch.testing.assert_close(slim(inputs), wanted, rtol=1e-9, atol=1e-9)


def test_what_makes_no_sense_is_refused(dense: Model, photos: Path, tmp_path: Path) -> None:
    cut = prune(dense, {"macs": 0.7})
    odd = (0.0, -1.0, float("nan"), float("inf"))
    for chosen in ({}, {"minutes": 1.0, "steps": 3}, *({"minutes": minutes} for minutes in odd)):
        with pytest.raises(UsageError, match="give `minutes`, a number above 0, or `steps`"):
            distill(cut, photos, **chosen)  # type: ignore[arg-type]
    for name, value in (
        ("steps", 0), ("batch_size", 0), ("learning_rate", 0.0), ("learning_rate", float("nan")),
        ("learning_rate", float("inf")), ("seed", -1),
    ):  # fmt: skip
        with pytest.raises(UsageError, match=f"distillation: {name} must be"):
            distill(cut, photos, **{"steps": 1, name: value})  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=r"was recovered: give it what `recover\(cut, images\)`"):
        distill(cut, photos, steps=1)
    cut = recover(cut, photos, calibration_images=4)
    one = tmp_path / "one"
    one.mkdir()
    (one / "a.png").write_bytes(next(photos.glob("*.png")).read_bytes())
    with pytest.raises(DatasetError, match=r"1 image can be read: at least two"):
        distill(cut, one, steps=1)
