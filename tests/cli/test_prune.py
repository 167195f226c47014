"""`prune` and `verify`: what they write, what they prove, what they refuse."""

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest

from tests.cli.commands import refused, run
from yoloprune.darknet.cost import cost
from yoloprune.darknet.parser import read_cfg
from yoloprune.darknet.weights import read_weights, write_weights
from yoloprune.graph.edits import edit

if TYPE_CHECKING:
    from cli.conftest import Pair

ROOT = Path(__file__).parents[2]
FILES = ["plan.json", "report.json", "report.md", "slim.cfg", "slim.weights"]


def prune(pair: "Pair", out: Path, *options: object) -> None:
    result = run("prune", pair.cfg, pair.weights, "--out", out, *options)
    assert result.exit_code == 0, (result.output, result.exception)


def test_prune_writes_a_slim_pair_a_plan_and_reports(pair: "Pair", tmp_path: Path) -> None:
    out = tmp_path / "slim"
    prune(pair, out, "--keep-macs", 0.5)
    assert sorted(path.name for path in out.iterdir()) == FILES

    dense, slim = read_cfg(pair.cfg), read_cfg(out / "slim.cfg")
    read_weights(out / "slim.weights", slim)
    report = json.loads((out / "report.json").read_text())
    for name, spec in (("dense", dense), ("slim", slim)):
        total = cost(spec)
        for figure in ("params", "macs", "flops", "weight_bytes"):
            assert report[name][figure] == getattr(total, figure)
        assert report[name]["verification"]["relative_error"] >= 0
    assert report["slim"]["macs"] <= 0.5 * report["dense"]["macs"]
    assert report["slim"]["weight_bytes"] == (out / "slim.weights").stat().st_size
    assert report["slim"]["verification"]["passed"] is True
    assert report["slim"]["verification"]["relative_error"] <= 1e-12

    layers = json.loads((out / "plan.json").read_text())["layers"]
    for conv in slim.convs:
        assert len(layers[str(conv.index)]["keep"]) == conv.filters
    assert "| Slim |" in (out / "report.md").read_text()


def test_only_filter_counts_differ_between_the_cfgs(pair: "Pair", tmp_path: Path) -> None:
    prune(pair, tmp_path / "slim", "--keep-macs", 0.5)
    before = pair.cfg.read_text().splitlines()
    after = (tmp_path / "slim" / "slim.cfg").read_text().splitlines()
    changed = [a for a, b in zip(before, after, strict=True) if a != b]
    assert changed
    assert all(line.startswith("filters=") for line in changed)


@pytest.mark.parametrize("criterion", ["l1", "bn-scale", "l2-folded", "fpgm", "random"])
def test_every_criterion_prunes(pair: "Pair", tmp_path: Path, criterion: str) -> None:
    prune(pair, tmp_path / "slim", "--keep-params", 0.6, "--criterion", criterion)
    report = json.loads((tmp_path / "slim" / "report.json").read_text())
    assert report["slim"]["params"] <= 0.6 * report["dense"]["params"]
    assert report["settings"]["criterion"] == criterion


@pytest.mark.parametrize("method", ["none", "fold", "carrier"])
def test_every_compensation_prunes_and_verifies(pair: "Pair", tmp_path: Path, method: str) -> None:
    out = tmp_path / "slim"
    prune(pair, out, "--keep-channels", 0.7, "--compensate", method, "--scope", "layer")
    report = json.loads((out / "report.json").read_text())
    assert report["settings"]["compensation"] == method
    result = run("verify", pair.cfg, pair.weights, out)
    assert result.exit_code == 0, result.output
    assert "verified" in result.stdout


def test_rounding_floors_and_onnx(pair: "Pair", tmp_path: Path) -> None:
    out = tmp_path / "slim"
    prune(pair, out, "--keep-macs", 0.6, "--round-to", 4, "--min-channels", 4, "--onnx")
    assert all(
        after.filters % 4 == 0
        for before, after in zip(
            read_cfg(pair.cfg).convs, read_cfg(out / "slim.cfg").convs, strict=True
        )
        if before.filters != after.filters
    )
    assert (out / "slim.onnx").exists()
    result = run("verify", pair.cfg, pair.weights, out)
    assert "slim.onnx = slim.weights" in result.stdout


def test_verification_runs_on_real_images_too(pair: "Pair", tmp_path: Path) -> None:
    images = tmp_path / "images"
    images.mkdir()
    for i in range(2):
        cv2.imwrite(str(images / f"{i}.png"), np.full((40, 60, 3), 90 * i, np.uint8))
    prune(pair, tmp_path / "slim", "--keep-macs", 0.5, "--images", images)
    report = json.loads((tmp_path / "slim" / "report.json").read_text())
    assert report["settings"]["verification_images"] == 3


def test_cross_check_prints_agreement(pair: "Pair", tmp_path: Path) -> None:
    result = run(
        "prune", pair.cfg, pair.weights, "--out", tmp_path / "slim", "--keep-macs", 0.5,
        "--cross-check",
    )  # fmt: skip
    assert "cross-check: 11 groups agree" in result.stdout
    assert "only" not in result.stdout


def test_the_same_command_twice_gives_the_same_bytes(pair: "Pair", tmp_path: Path) -> None:
    for name in ("one", "two"):
        prune(pair, tmp_path / name, "--keep-macs", 0.5)
    for name in ("plan.json", "slim.cfg", "slim.weights"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_the_script_takes_the_same_arguments(pair: "Pair", tmp_path: Path) -> None:
    script = ROOT / "tools" / "prune_yolo.py"
    command = [sys.executable, script, pair.cfg, pair.weights, "--out", tmp_path / "slim"]
    found = subprocess.run(
        [*map(str, command), "--keep-macs", "0.5"], capture_output=True, text=True, check=True
    )
    assert "slim = masked dense" in found.stdout
    assert sorted(path.name for path in (tmp_path / "slim").iterdir()) == FILES


def test_a_changed_weight_fails_verification(pair: "Pair", tmp_path: Path) -> None:
    out = tmp_path / "slim"
    prune(pair, out, "--keep-macs", 0.5)
    data = bytearray((out / "slim.weights").read_bytes())
    data[-4:] = np.float32(3).tobytes()
    (out / "slim.weights").write_bytes(data)
    assert "relative error" in refused("verify", pair.cfg, pair.weights, out)


def test_a_changed_cfg_fails_verification(pair: "Pair", tmp_path: Path) -> None:
    out = tmp_path / "slim"
    prune(pair, out, "--keep-macs", 0.5)
    text = (out / "slim.cfg").read_text().replace("activation=leaky", "activation=relu", 1)
    (out / "slim.cfg").write_text(text)
    assert "not the network that the plan makes" in refused("verify", pair.cfg, pair.weights, out)


def test_a_plan_of_another_network_is_refused(pair: "Pair", tmp_path: Path) -> None:
    prune(pair, tmp_path / "slim", "--keep-macs", 0.5)
    other = tmp_path / "other.cfg"
    run("zoo", "yolov3-tiny", "--classes", 3, "--width", 0.125, "--size", 64, "--out", other)
    run("init", other, "--out", tmp_path / "other.weights")
    message = refused("verify", other, tmp_path / "other.weights", tmp_path / "slim")
    assert "another network" in message


def test_scope_and_seed_reach_the_plan(pair: "Pair", tmp_path: Path) -> None:
    plans = {}
    for name, options in {
        "global": [],
        "layer": ["--scope", "layer"],
        "seed": ["--seed", 1],
    }.items():
        prune(pair, tmp_path / name, "--keep-macs", 0.5, "--round-to", 1,
              "--criterion", "random", *options)  # fmt: skip
        plans[name] = (tmp_path / name / "plan.json").read_text()
    assert len(set(plans.values())) == 3


def test_the_dense_network_is_never_replaced(pair: "Pair", tmp_path: Path) -> None:
    out = tmp_path / "slim"
    prune(pair, out, "--keep-macs", 0.7)
    before = (out / "slim.weights").read_bytes()
    message = refused(
        "prune", out / "slim.cfg", out / "slim.weights", "--out", out, "--keep-macs", 0.7
    )
    assert "would replace the dense network" in message
    assert (out / "slim.weights").read_bytes() == before


def test_a_second_run_leaves_nothing_of_the_first(pair: "Pair", tmp_path: Path) -> None:
    out = tmp_path / "slim"
    prune(pair, out, "--keep-macs", 0.7, "--onnx")
    assert (out / "slim.onnx").exists()
    prune(pair, out, "--keep-macs", 0.4)
    assert not (out / "slim.onnx").exists()
    assert "verified" in run("verify", pair.cfg, pair.weights, out).stdout


def test_a_folder_that_cannot_be_filled_is_left_as_it_was(pair: "Pair", tmp_path: Path) -> None:
    out = tmp_path / "slim"
    (out / "slim.cfg").mkdir(parents=True)
    refused("prune", pair.cfg, pair.weights, "--out", out, "--keep-macs", 0.5)
    assert [path.name for path in out.iterdir()] == ["slim.cfg"]
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize("damage", ["empty", "short", "other"])
def test_a_damaged_onnx_file_fails_verification(pair: "Pair", tmp_path: Path, damage: str) -> None:
    out = tmp_path / "slim"
    prune(pair, out, "--keep-macs", 0.5, "--onnx")
    path = out / "slim.onnx"
    if damage == "other":
        run("export", pair.cfg, pair.weights, "--onnx", path, "--decode")
    else:
        path.write_bytes(path.read_bytes()[: 0 if damage == "empty" else 5000])
    assert "slim.onnx" in refused("verify", pair.cfg, pair.weights, out)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "at least one of --keep-macs"),
        (["--keep-macs", "0.0001"], "smallest reachable"),
        (["--keep-macs", "1.5"], "must be in"),
        (["--keep-macs", "0.5", "--criterion", "magic"], "unknown"),
        (["--keep-macs", "0.5", "--min-channels", "0"], "--min-channels"),
        (["--keep-macs", "0.5", "--images", "nowhere"], "nowhere"),
        (["--keep-macs", "abc"], "valid number"),
        (["--keep-macs", "0.5", "--criterion", "random", "--seed", "-1"], "--seed"),
    ],
)
def test_bad_options_write_nothing(
    pair: "Pair", tmp_path: Path, options: list[str], message: str
) -> None:
    out = tmp_path / "slim"
    assert message in refused("prune", pair.cfg, pair.weights, "--out", out, *options)
    assert not out.exists()


def test_a_failed_verification_writes_nothing(
    pair: "Pair", tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("yoloprune.pruning.prune.edit", wrong_edit)
    out = tmp_path / "slim"
    message = refused("prune", pair.cfg, pair.weights, "--out", out, "--keep-macs", 0.5)
    assert "slim against masked dense" in message
    assert not out.exists()


def wrong_edit(*arguments: Any) -> object:
    graph, parameters = edit(*arguments)
    return graph, parameters | {"layer_0.bias": parameters["layer_0.bias"] + 1e-3}


def test_weights_of_another_network_are_refused(pair: "Pair", tmp_path: Path) -> None:
    spec = read_cfg(pair.cfg)
    state = read_weights(pair.weights, spec)
    write_weights(tmp_path / "short.weights", spec, state)
    data = (tmp_path / "short.weights").read_bytes()
    (tmp_path / "short.weights").write_bytes(data[:-100])
    message = refused("prune", pair.cfg, tmp_path / "short.weights", "--out", tmp_path / "x")
    assert "keep-macs" in message
    message = refused(
        "prune", pair.cfg, tmp_path / "short.weights", "--out", tmp_path / "x", "--keep-macs", 0.5
    )
    assert "layer 22" in message and "byte" in message


def test_out_that_is_a_file_is_one_line(pair: "Pair", tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    refused("prune", pair.cfg, pair.weights, "--out", tmp_path / "file", "--keep-macs", 0.5)
