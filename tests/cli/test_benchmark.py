import importlib.util
import json
import re

import pytest

from tests.cli.commands import refused, run
from tests.cli.conftest import Pair


def test_benchmark_prints_ratio_and_threads(pair: "Pair") -> None:
    result = run(
        "benchmark", pair.cfg, pair.weights, pair.cfg, pair.weights, "--runs", 2, "--threads", 1
    )
    assert "1 CPU threads, 2 runs each" in result.stdout
    assert "torch eager:" in result.stdout and "ONNX Runtime:" in result.stdout
    # Two equal networks cannot tell what binds.
    assert "1.00x fewer MACs" in result.stdout
    assert "follow" not in result.stdout


def test_benchmark_json(pair: "Pair") -> None:
    result = run("benchmark", pair.cfg, pair.weights, "--runs", 2, "--threads", 1, "--json")
    document = json.loads(result.stdout)
    assert document["threads"] == 1
    assert document["engines"][0]["engine"] == "torch eager"
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


def test_benchmark_needs_whole_pairs(pair: "Pair") -> None:
    assert "its .weights must follow" in refused("benchmark", pair.cfg, pair.weights, pair.cfg)
