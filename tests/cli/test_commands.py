"""The smaller commands, and what all commands have in common."""

import importlib.util
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import onnxruntime
import pytest

from tests.cli.commands import refused, run
from tests.processes import outcome, program
from tests.training.painted import paint
from yoloprune.frontends.darknet.cost import cost
from yoloprune.frontends.darknet.parser import read_cfg
from yoloprune.frontends.darknet.weights import read_weights

if TYPE_CHECKING:
    from cli.conftest import Pair


def test_zoo_writes_the_full_yolov3(tmp_path: Path) -> None:
    out = tmp_path / "hand.cfg"
    result = run("zoo", "yolov3", "--classes", 1, "--out", out)
    assert "61.5M params, 32.6B MACs" in result.stdout
    assert cost(read_cfg(out)).params == 61_523_734


def test_zoo_takes_width_size_and_anchors(tmp_path: Path) -> None:
    out = tmp_path / "small.cfg"
    anchors = "1,2, 3,4, 5,6, 7,8, 9,10, 11,12"
    run("zoo", "yolov3-tiny", "--width", 0.25, "--size", 320, "--anchors", anchors, "--out", out)
    spec = read_cfg(out)
    assert spec.input_shape == (3, 320, 320)
    assert spec.convs[0].filters == 4
    assert spec.heads[1].anchors == ((1, 2), (3, 4), (5, 6))


@pytest.mark.parametrize(
    "options",
    [
        ["yolov9"],
        ["yolov3", "--classes", "0"],
        ["yolov3", "--width", "0"],
        ["yolov3", "--size", "100"],
        ["yolov3", "--anchors", "1,2,x"],
        ["yolov3", "--anchors", "1,2,3,4"],
    ],
)
def test_zoo_refuses(tmp_path: Path, options: list[str]) -> None:
    refused("zoo", *options, "--out", tmp_path / "x.cfg")
    assert not (tmp_path / "x.cfg").exists()


def test_init_is_seeded(pair: "Pair", tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        run("init", pair.cfg, "--out", tmp_path / name, "--seed", seed)
    a, b, c = ((tmp_path / name).read_bytes() for name in "abc")
    assert a == b != c
    read_weights(tmp_path / "a", read_cfg(pair.cfg))


def test_inspect_shows_layers_groups_and_reasons(pair: "Pair") -> None:
    result = run("inspect", pair.cfg)
    assert "network output head_16" in result.stdout
    assert "11 prunable groups, 0 of them coupled, 2 frozen" in result.stdout


def test_inspect_json_agrees_with_cost_and_counts_dead_channels(pair: "Pair") -> None:
    document = json.loads(run("inspect", pair.cfg, pair.weights, "--json").stdout)
    total = cost(read_cfg(pair.cfg))
    assert document["params"] == total.params
    assert sum(row["macs"] for row in document["layers"]) == total.macs
    group = document["groups"][0]
    assert group == {
        "id": 0,
        "channels": 2,
        "producers": [0],
        "consumers": [2],
        "equal_parts": 1,
        "frozen_because": None,
        "dead_channels": 0,
    }


def test_export_writes_onnx_that_runs(pair: "Pair", tmp_path: Path) -> None:
    out = tmp_path / "net.onnx"
    result = run("export", pair.cfg, pair.weights, "--onnx", out, "--decode")
    assert "ONNX Runtime = torch" in result.stdout
    names = [o.name for o in onnxruntime.InferenceSession(str(out)).get_outputs()]
    assert names == ["boxes", "scores"]


def test_benchmark_prints_ratio_and_threads(pair: "Pair") -> None:
    result = run(
        "benchmark", pair.cfg, pair.weights, pair.cfg, pair.weights, "--runs", 2, "--threads", 1
    )
    assert "1 CPU threads, 2 runs each" in result.stdout
    assert "torch eager:" in result.stdout and "ONNX Runtime:" in result.stdout
    # Two equal networks cannot tell what binds.
    assert "1.00x fewer MACs" in result.stdout
    assert "bound by" not in result.stdout


def test_benchmark_json(pair: "Pair") -> None:
    result = run("benchmark", pair.cfg, pair.weights, "--runs", 2, "--threads", 1, "--json")
    document = json.loads(result.stdout)
    assert document["threads"] == 1
    assert [engine["engine"] for engine in document["engines"]] == ["torch eager", "ONNX Runtime"]
    assert document["engines"][0]["speedup"] is None


def test_benchmark_of_one_engine_in_one_line(pair: "Pair") -> None:
    command = ["benchmark", pair.cfg, pair.weights, "--runs", 1, "--quiet", "--engine", "opencv"]
    (line,) = run(*command, "--engine", "torch", "--device", "cpu").stdout.splitlines()
    assert re.fullmatch(r"OpenCV: [\d.]+ ms; torch eager: [\d.]+ ms", line)
    assert "'magic' is not known" in refused(*command, "--engine", "magic")
    assert "OpenCV runs on cpu here, not on meta" in refused(*command, "--device", "meta")


def test_a_missing_engine_is_one_line(pair: "Pair", monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "openvino" else find(name)
    )
    line = refused("benchmark", pair.cfg, pair.weights, "--engine", "openvino")
    assert line == "OpenVINO needs openvino: pip install 'yoloprune[openvino]'"


@pytest.mark.parametrize("command", ["train", "finetune", "iterate", "sweep", "case-study"])
def test_a_device_that_is_not_there_is_one_line(command: str, pair: "Pair", tmp_path: Path) -> None:
    paint(tmp_path / "data", train=20, test=2)
    (tmp_path / "data" / "a.names").write_text("a\nb\n")
    words = {
        "train": [pair.cfg],
        "iterate": [pair.cfg, pair.weights, "--keep-macs", 0.5],
        "case-study": ["--preset", "demo"],
    }.get(command, [pair.cfg, pair.weights])
    data = ["--data", tmp_path / "data", "--out", tmp_path / "out", "--device", "cuda:99"]
    assert "device cuda:99: torch finds no such GPU here" in refused(command, *words, *data)


def test_export_in_one_line_and_as_json(pair: "Pair", tmp_path: Path) -> None:
    command = ["export", pair.cfg, pair.weights, "--out", tmp_path / "net.onnx"]
    (line,) = run(*command, "--quiet").stdout.splitlines()
    assert line.startswith(f"{tmp_path / 'net.onnx'}: ONNX Runtime = torch: relative error")
    document = json.loads(run(*command, "--json").stdout)
    assert document["outputs"].keys() == {"boxes", "scores"}
    assert "no export format has this suffix" in refused(*command[:-1], tmp_path / "net.pb")


def test_benchmark_needs_whole_pairs(pair: "Pair") -> None:
    assert "its .weights must follow" in refused("benchmark", pair.cfg, pair.weights, pair.cfg)


@pytest.mark.parametrize("content", [b"", b"\x00\x01binary", b"[net", b"[net]\nwidth=1"])
def test_a_bad_cfg_is_one_line_and_code_2(tmp_path: Path, content: bytes) -> None:
    cfg = tmp_path / "bad.cfg"
    cfg.write_bytes(content)
    assert "bad.cfg" in refused("inspect", cfg)


def test_an_error_line_is_printed_as_it_is(tmp_path: Path) -> None:
    cfg = tmp_path / "a  b[red].cfg"
    cfg.write_text("[net]\nheight=8\nwidth=8\nchannels=3\n" + 95 * "\n" + "[lstm]\n")
    assert refused("inspect", cfg).startswith(f"{cfg}:100: layer 0 [lstm] is not supported")


@pytest.mark.parametrize(
    "arguments",
    [["prun"], ["inspect"], ["inspect", "x", "--foo"], ["init", "x", "--seed", 10**30]],
)
def test_wrong_usage_is_one_line_too(arguments: list[object]) -> None:
    refused(*arguments)


def test_a_cfg_that_asks_for_too_much_is_refused(tmp_path: Path) -> None:
    net = "[net]\nheight=8\nwidth=8\nchannels=3\n[convolutional]\nfilters=2\nactivation=linear\n"
    doubling = tmp_path / "doubling.cfg"
    doubling.write_text(net + 34 * "[route]\nlayers=-1,-1\n")
    assert "too large" in refused("inspect", doubling)
    wide = tmp_path / "wide.cfg"
    wide.write_text(net.replace("filters=2", "filters=2\nsize=65535\npad=1"))
    assert "too large" in refused("init", wide, "--out", tmp_path / "wide.weights")


def test_missing_files_are_one_line(pair: "Pair", tmp_path: Path) -> None:
    assert "none.cfg" in refused("inspect", tmp_path / "none.cfg")
    assert "none.weights" in refused("inspect", pair.cfg, tmp_path / "none.weights")


def test_debug_shows_the_traceback(tmp_path: Path) -> None:
    found = outcome(program, "yoloprune", "--debug", "inspect", tmp_path / "none.cfg")
    assert found.returncode == 1
    assert "Traceback" in found.stderr and "CfgError" in found.stderr


def test_the_module_is_the_command(pair: "Pair") -> None:
    found = outcome(program, "yoloprune", "inspect", pair.cfg)
    assert found.returncode == 0, found.stderr
    assert "prunable groups" in found.stdout
    assert "\x1b[" not in found.stdout  # plain text in a pipe
