"""Commands that take an ONNX file, and those that say that they do not."""

import json
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest

from tests.cli.commands import refused, run
from tests.cli.conftest import Pair
from tests.frontends.onnx.models import residual


@pytest.fixture
def net(tmp_path: Path) -> Path:
    onnx.save_model(residual(), tmp_path / "net.onnx")
    return tmp_path / "net.onnx"


def test_from_the_file_to_a_verified_folder(net: Path, tmp_path: Path) -> None:
    photos, out = tmp_path / "photos", tmp_path / "slim"
    photos.mkdir()
    for number, photo in enumerate(np.random.default_rng(0).integers(0, 256, (3, 20, 20, 3))):
        cv2.imwrite(str(photos / f"{number}.png"), photo)
    assert "network output y" in run("inspect", net).stdout
    assert json.loads(run("inspect", net, "--json").stdout)["groups"][0]["producers"] == [
        "first", "second"
    ]  # fmt: skip
    pruning = run("prune", net, "--keep-macs", 0.6, "--reconstruct", photos, "--out", out)
    assert pruning.exit_code == 0, pruning.output
    assert "wrote " in pruning.stdout and "slim.onnx, plan.json, report.json" in pruning.stdout
    assert "relative output error vs. dense" in pruning.stdout
    assert "(RGB in [0, 1], stretched to 16x16)" in (out / "report.md").read_text()
    assert "verified" in run("verify", net, out).stdout
    again = run("reconstruct", net, out, "--images", photos, "--recalibrate")
    assert again.exit_code == 0, again.output
    timed = run("benchmark", net, out, "--engine", "onnxruntime", "--runs", 2, "--json")
    assert len(json.loads(timed.stdout)["networks"]) == 2


def test_a_file_alone_is_verified_by_its_numbers(net: Path, tmp_path: Path) -> None:
    out = tmp_path / "slim"
    run("prune", net, "--keep-macs", 0.6, "--out", out)
    found = run("verify", net, out / "slim.onnx")
    assert "found by their numbers" in found.stdout and "slim = masked dense" in found.stdout
    # So is a folder whose plan is lost.
    (out / "plan.json").unlink()
    assert "found by their numbers" in run("verify", net, out).stdout
    assert "kept" in json.loads(run("verify", net, out, "--json").stdout)
    words = refused("verify", net, out, "--engine", "onnxruntime")
    assert "--engine and --device go with a folder" in words
    assert "gone.onnx: No such file" in refused("verify", net, tmp_path / "gone.onnx")


def test_a_darknet_pair_is_verified_against_its_slim_pair(pair: Pair, tmp_path: Path) -> None:
    run("prune", pair.cfg, pair.weights, "--keep-macs", 0.6, "--out", tmp_path / "slim")
    slim = tmp_path / "slim" / "slim.cfg", tmp_path / "slim" / "slim.weights"
    assert "found by their numbers" in run("verify", pair.cfg, pair.weights, *slim).stdout


@pytest.mark.parametrize(
    "words",
    [
        ("evaluate", "--data", "data"),
        ("detect", "data", "--out", "out"),
        ("sweep", "--data", "data"),
        ("iterate", "--data", "data", "--keep-macs", 0.5, "--out", "out"),
        ("sparsify", "--sparsity", 0.5, "--out", "out"),
        ("export", "--out", "out.onnx"),
        ("prune", "--keep-macs", 0.5, "--criterion", "taylor", "--images", "data", "--out", "out"),
    ],
)
def test_what_cannot_take_an_onnx_file_says_so(
    words: tuple[str, ...], net: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    cv2.imwrite(str(tmp_path / "data" / "a.png"), np.zeros((16, 16, 3), np.uint8))
    command, *options = words
    assert "net: a Darknet network (.cfg and .weights) is needed" in refused(command, net, *options)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "net.onnx"]


def test_options_of_darknet_networks_are_refused(net: Path, tmp_path: Path) -> None:
    prune = ("prune", net, "--keep-macs", 0.6, "--out", tmp_path / "slim")
    assert "--onnx goes with a Darknet network" in refused(*prune, "--onnx")
    run(*prune)
    folder = tmp_path / "slim"
    message = refused("finetune", folder, "--teacher", folder, "--data", "d", "--out", "o")
    assert "slim.onnx: --teacher takes a Darknet pair" in message
    (tmp_path / "bad.onnx").write_bytes(b"\xff" * 50)
    for command in ("inspect", "benchmark"):
        assert "bad.onnx: this is no ONNX file" in refused(command, tmp_path / "bad.onnx")
