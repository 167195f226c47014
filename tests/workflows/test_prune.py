"""Pruning: what a cut is, what it writes, and what is proven of it."""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from tests.reporters import Heard
from yoloprune.errors import (
    UsageError,
    VerificationError,
    YoloPruneError,
)
from yoloprune.exporters.interface import OnnxForm
from yoloprune.frontends.darknet.cost import cost
from yoloprune.frontends.darknet.document import darknet
from yoloprune.frontends.darknet.parser import read_cfg
from yoloprune.frontends.darknet.weights import read_weights
from yoloprune.graph.edits import edit
from yoloprune.graph.model import Model
from yoloprune.workflows.models import load
from yoloprune.workflows.prune import prune
from yoloprune.workflows.pruned_folder import read_cut
from yoloprune.workflows.recover import recover
from yoloprune.workflows.sparsify import sparsify

FILES = ["plan.json", "report.json", "report.md", "slim.cfg", "slim.weights"]


def report_of(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "report.json").read_text())
    return found


def test_a_cut_writes_a_slim_pair_a_plan_and_reports(dense: Model, tmp_path: Path) -> None:
    out = tmp_path / "slim"
    names = prune(dense, {"macs": 0.5}).save(out)
    assert sorted(names) == sorted(path.name for path in out.iterdir()) == FILES
    spec, slim = darknet(dense).spec, read_cfg(out / "slim.cfg")
    read_weights(out / "slim.weights", slim)
    report = report_of(out)
    for name, each in (("dense", spec), ("slim", slim)):
        total = cost(each)
        for figure in ("params", "macs", "flops", "weight_bytes"):
            assert report[name][figure] == getattr(total, figure)
        assert report[name]["verification"]["relative_error"] >= 0
    assert report["slim"]["macs"] <= 0.5 * report["dense"]["macs"]
    assert report["slim"]["weight_bytes"] == (out / "slim.weights").stat().st_size
    assert report["slim"]["verification"]["passed"] is True
    assert report["slim"]["verification"]["relative_error"] <= 1e-12
    layers = json.loads((out / "plan.json").read_text())["layers"]
    for conv in slim.convs:
        assert len(layers[f"layer_{conv.index}.conv"]["keep"]) == conv.filters
    assert "| Slim |" in (out / "report.md").read_text()


def test_only_filter_counts_differ_between_the_cfgs(dense: Model, tmp_path: Path) -> None:
    prune(dense, {"macs": 0.5}).save(tmp_path / "slim")
    before = (tmp_path / "dense.cfg").read_text().splitlines()
    after = (tmp_path / "slim" / "slim.cfg").read_text().splitlines()
    changed = [a for a, b in zip(before, after, strict=True) if a != b]
    assert changed
    assert all(line.startswith("filters=") for line in changed)


@pytest.mark.parametrize("criterion", ["l1", "bn-scale", "l2-folded", "fpgm", "random"])
def test_every_criterion_prunes(dense: Model, criterion: str) -> None:
    cut = prune(dense, {"params": 0.6}, criterion=criterion)
    before, after = (cost(darknet(network).spec) for network in (dense, cut.slim))
    assert after.params <= 0.6 * before.params
    assert cut.settings["criterion"] == criterion


@pytest.mark.parametrize("method", ["none", "fold", "carrier"])
def test_every_compensation_prunes_and_is_proven_again(
    dense: Model, tmp_path: Path, method: str
) -> None:
    cut = prune(dense, {"channels": 0.7}, compensation=method, scope="layer")
    cut.save(tmp_path / "slim")
    again = read_cut(tmp_path / "slim", dense)
    assert again.proof == cut.proof
    assert again.settings == cut.settings
    assert again.plan == cut.plan
    assert again.recovery is None


def test_rounding_floors_and_onnx(dense: Model, tmp_path: Path) -> None:
    cut = prune(dense, {"macs": 0.6}, multiple_of=4, min_channels=4)
    before, after = (darknet(network).spec.convs for network in (dense, cut.slim))
    assert any(a.filters != b.filters for a, b in zip(before, after, strict=True))
    assert all(
        b.filters % 4 == 0 for a, b in zip(before, after, strict=True) if a.filters != b.filters
    )
    assert "slim.onnx" in cut.save(tmp_path / "slim", onnx=OnnxForm(decoded=True))
    assert "## slim.onnx" in (tmp_path / "slim" / "report.md").read_text()
    # A second cut leaves nothing of the first.
    prune(dense, {"macs": 0.4}).save(tmp_path / "slim")
    assert sorted(path.name for path in (tmp_path / "slim").iterdir()) == FILES
    read_cut(tmp_path / "slim", tmp_path / "dense.cfg")


def test_a_finer_rounding_than_usual_is_told_of(dense: Model) -> None:
    heard = Heard()
    prune(dense, {"macs": 0.2}, reporter=heard)
    (warning,) = heard.warnings
    assert "rounded to multiples of" in warning and "which run faster" in warning


def test_the_proof_runs_on_real_images_too(dense: Model, tmp_path: Path) -> None:
    images = tmp_path / "images"
    images.mkdir()
    for i in range(2):
        cv2.imwrite(str(images / f"{i}.png"), np.full((40, 60, 3), 90 * i, np.uint8))
    cut = prune(dense, {"macs": 0.5}, images=images)
    assert cut.settings["verification_images"] == 3


def test_the_same_twice_gives_the_same_bytes(dense: Model, tmp_path: Path) -> None:
    for name in ("one", "two"):
        prune(dense, {"macs": 0.5}).save(tmp_path / name)
    for name in FILES:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_scope_and_seed_reach_the_plan(dense: Model) -> None:
    plans = [
        dict(prune(dense, {"macs": 0.5}, multiple_of=1, criterion="random", **options).plan.keep)
        for options in ({}, {"scope": "layer"}, {"seed": 1})
    ]
    assert plans[0] != plans[1] != plans[2] != plans[0]


def test_what_is_not_exact_is_no_cut(dense: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(*arguments: Any) -> Any:
        graph, parameters = edit(*arguments)
        return graph, parameters | {"layer_0.bias": parameters["layer_0.bias"] + 1e-3}

    monkeypatch.setattr("yoloprune.pruning.prune.edit", wrong)
    with pytest.raises(VerificationError, match="slim against masked dense"):
        prune(dense, {"macs": 0.5})


@pytest.mark.parametrize(
    ("keep", "options", "words"),
    [
        ({}, {}, r"limits nothing \(known: macs, params, channels, bytes, ms\)"),
        ({"weights": 0.5}, {}, "measure 'weights' is unknown"),
        ({"macs": 1.5}, {}, "must be in"),
        ({"macs": 1e-4}, {}, "smallest reachable"),
        ({"macs": 0.5}, {"criterion": "magic"}, "unknown"),
        ({"macs": 0.5}, {"scope": "planet"}, "`scope` 'planet' is unknown"),
        ({"macs": 0.5}, {"compensation": "x"}, "`compensation` 'x' is unknown"),
        ({"macs": 0.5}, {"criterion": "taylor"}, "needs images"),
    ],
)
def test_senseless_settings_are_named(
    dense: Model, keep: dict[str, float], options: dict[str, Any], words: str
) -> None:
    with pytest.raises(YoloPruneError, match=words):
        prune(dense, keep, **options)


def test_class_names_go_with_the_network(dense: Model, tmp_path: Path) -> None:
    (tmp_path / "dense.names").write_text("left\nright\n")
    named = load(tmp_path / "dense.cfg")
    assert "slim.names" in prune(named, {"macs": 0.5}).save(tmp_path / "slim")
    assert (tmp_path / "slim" / "slim.names").read_text() == "left\nright\n"
    # What is there from before goes, if the next network has no names.
    prune(dense, {"macs": 0.5}).save(tmp_path / "slim")
    assert not (tmp_path / "slim" / "slim.names").exists()


def test_images_lie_on_the_device_that_is_asked_for(
    dense: Model, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No GPU is needed to see that everything which is computed there starts there."""
    asked: list[str] = []
    move = torch.Tensor.to

    def to(tensor: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        if args and args[0] == torch.device("cuda"):
            asked.append(str(tensor.dtype))
            return tensor
        return move(tensor, *args, **kwargs)

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.Tensor, "to", to)
    found = prune(dense, {"macs": 0.7}, criterion="activation", images=photos, device="cpu")
    assert asked == []
    again = prune(dense, {"macs": 0.7}, criterion="activation", images=photos, device="cuda")
    # The calibration and its unseen images, and the noise of the proof.
    assert asked[:3] == ["torch.float32", "torch.float32", "torch.float64"]
    assert again.plan == found.plan
    asked.clear()
    recover(again, photos, device="cuda", calibration_images=2)
    assert asked[:2] == ["torch.float32"] * 2
    with pytest.raises(UsageError, match="device 'gpu' is not known"):
        prune(dense, {"macs": 0.7}, device="gpu")


def test_masks_end_with_the_network_that_they_are_of(dense: Model, tmp_path: Path) -> None:
    sparsify(dense, 0.5).save(tmp_path / "sparse")
    heard = Heard()
    prune(tmp_path / "sparse", {"macs": 0.7}, reporter=heard)
    assert any("masks.json is of the dense network" in warning for warning in heard.warnings)
    silent = Heard()
    prune(dense, {"macs": 0.7}, reporter=silent)
    assert not any("masks.json" in warning for warning in silent.warnings)


def test_images_at_hand_are_scored_and_re_fitted_on(dense: Model, photos: Path) -> None:
    whole = prune(dense, {"macs": 0.7}, images=photos, calibration_images=4)
    asked = prune(
        dense, {"macs": 0.7}, criterion="reconstruction", images=photos, calibration_images=4,
        refit=False,
    )  # fmt: skip
    assert asked.recovery is None and whole.plan == asked.plan
    assert asked.learned_from == whole.learned_from and len(asked.learned_from) == 4
    by_hand = recover(asked, photos, calibration_images=4)
    for name, array in by_hand.slim.parameters.items():
        assert array.equal(whole.slim.parameters[name])
    # Without a budget there is nothing to choose and nothing to re-fit.
    narrow = prune(dense, classes=[0], images=photos)
    assert narrow.recovery is None and not narrow.learned_from
