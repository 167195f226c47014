"""`prune` and `verify`: what they write, what they prove, what they refuse."""

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import onnx
import pytest

from tests.cli.commands import refused, run
from yoloprune.engines.engine import Engine
from yoloprune.frontends.darknet.parser import read_cfg
from yoloprune.frontends.darknet.weights import read_weights, write_weights

if TYPE_CHECKING:
    from cli.conftest import Pair

ROOT = Path(__file__).parents[2]
FILES = ["plan.json", "report.json", "report.md", "slim.cfg", "slim.weights"]
NAMES = ["slim.cfg", "slim.weights", "plan.json", "report.json", "report.md"]


def prune(pair: "Pair", out: Path, *options: object) -> None:
    result = run("prune", pair.cfg, pair.weights, "--out", out, *options)
    assert result.exit_code == 0, (result.output, result.exception)


def test_options_reach_the_plan_and_all_is_printed(pair: "Pair", tmp_path: Path) -> None:
    out = tmp_path / "slim"
    command = ("prune", pair.cfg, pair.weights, "--out", out, "--keep-macs", 0.6,
               "--keep-channels", 0.9, "--round-to", 4, "--min-channels", 3, "--max-layer-cut",
               0.9, "--criterion", "fpgm", "--scope", "layer", "--compensate", "fold",
               "--seed", 5, "--no-time")  # fmt: skip
    result = run(*command)
    assert result.exit_code == 0, (result.output, result.exception)
    assert "| Slim" in result.stdout and "slim = masked dense" in result.stdout
    assert f"wrote {out}/: {', '.join(sorted(FILES, key=NAMES.index))}" in result.stdout
    plan = json.loads((out / "plan.json").read_text())
    assert plan["budget"] == {
        "limits": {"macs": 0.6, "channels": 0.9}, "min_channels": 3, "multiple_of": 4,
        "max_layer_cut": 0.9,
    }  # fmt: skip
    assert (plan["criterion"], plan["compensation"]) == ("fpgm", "fold")
    report = json.loads((out / "report.json").read_text())
    assert report["settings"]["scope"] == "layer" and report["settings"]["seed"] == 5
    assert report["made_by"].startswith("yoloprune")
    assert json.loads(run(*command, "--json").stdout) == report
    quiet = run(*command, "--quiet")
    assert len(quiet.stdout.splitlines()) == 1 and quiet.stderr == ""


def test_classes_need_no_budget_and_their_names_reach_the_onnx_file(
    pair: "Pair", tmp_path: Path
) -> None:
    pair.cfg.with_suffix(".names").write_text("left hand\nright hand\n")
    out = tmp_path / "slim"
    prune(pair, out, "--classes", "right hand", "--onnx", "--decode")
    assert json.loads((out / "plan.json").read_text())["task"]["classes"] == [1]
    assert (out / "slim.names").read_text() == "right hand\n"
    (boxes, scores) = onnx.load(out / "slim.onnx").graph.output
    assert (boxes.name, scores.name) == ("boxes", "scores")
    assert scores.type.tensor_type.shape.dim[2].dim_value == 1
    assert "right hand" in str(onnx.load(out / "slim.onnx").metadata_props)
    result = run("verify", pair.cfg, pair.weights, out)
    assert "cut to the classes right hand: " in result.stdout and result.exit_code == 0


def test_cross_check_prints_agreement(pair: "Pair", tmp_path: Path) -> None:
    result = run(
        "prune", pair.cfg, pair.weights, "--out", tmp_path / "slim", "--keep-macs", 0.5,
        "--cross-check",
    )  # fmt: skip
    assert "cross-check: 11 groups agree" in result.stdout
    assert "only" not in result.stdout


def test_the_script_takes_the_same_arguments(pair: "Pair", tmp_path: Path) -> None:
    script = ROOT / "tools" / "prune_yolo.py"
    command = [sys.executable, script, pair.cfg, pair.weights, "--out", tmp_path / "slim"]
    found = subprocess.run(
        [*map(str, command), "--keep-macs", "0.5"], capture_output=True, text=True, check=True
    )
    assert "slim = masked dense" in found.stdout
    assert sorted(path.name for path in (tmp_path / "slim").iterdir()) == FILES


def test_the_dense_network_is_never_replaced(pair: "Pair", tmp_path: Path) -> None:
    out = tmp_path / "slim"
    prune(pair, out, "--keep-macs", 0.7)
    before = (out / "slim.weights").read_bytes()
    message = refused(
        "prune", out / "slim.cfg", out / "slim.weights", "--out", out, "--keep-macs", 0.7
    )
    assert "would replace the dense network" in message
    assert (out / "slim.weights").read_bytes() == before


def test_a_damaged_onnx_file_fails_verification(pair: "Pair", tmp_path: Path) -> None:
    out = tmp_path / "slim"
    prune(pair, out, "--keep-macs", 0.5, "--onnx")
    command = ("verify", pair.cfg, pair.weights, out)
    assert "slim.onnx = slim.weights" in run(*command).stdout
    path = out / "slim.onnx"
    content = path.read_bytes()
    for length in (0, 5000):
        path.write_bytes(content[:length])
        assert "slim.onnx" in refused(*command)
    run("export", pair.cfg, pair.weights, "--onnx", path, "--decode")
    assert "slim.onnx" in refused(*command)


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
        (["--classes", "hand"], "class 'hand' is unknown (known: 0 to 1"),
        (["--classes", ""], "class '' is unknown"),
        (["--keep-macs", "0.5", "--decoder", "yolov8"], "--decoder goes with --classes"),
        (["--keep-macs", "0.5", "--criterion", "random", "--seed", "-1"], "--seed"),
    ],
)
def test_bad_options_write_nothing(
    pair: "Pair", tmp_path: Path, options: list[str], message: str
) -> None:
    out = tmp_path / "slim"
    assert message in refused("prune", pair.cfg, pair.weights, "--out", out, *options)
    assert not out.exists()


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


def test_an_engine_that_was_asked_for_and_is_not_there_is_told(
    pair: "Pair", tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Engine, "missing", ("openvino",))
    command = ("prune", pair.cfg, pair.weights, "--keep-macs", 0.9, "--round-to", 1)
    said = refused(*command, "--out", tmp_path / "slim", "--engine", "openvino")
    assert said.startswith("OpenVINO needs openvino: pip install")
    assert not (tmp_path / "slim").exists()
    # Nobody asked for the usual one.
    prune(pair, tmp_path / "slim", *command[3:])
