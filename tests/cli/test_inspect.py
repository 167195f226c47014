import json
from pathlib import Path

import pytest

from tests.cli.commands import refused, run
from tests.cli.conftest import Pair
from yoloprune.frontends.darknet.cost import cost
from yoloprune.frontends.darknet.parser import read_cfg


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


@pytest.mark.parametrize("content", [b"", b"\x00\x01binary", b"[net", b"[net]\nwidth=1"])
def test_a_bad_cfg_is_one_line_and_code_2(tmp_path: Path, content: bytes) -> None:
    cfg = tmp_path / "bad.cfg"
    cfg.write_bytes(content)
    assert "bad.cfg" in refused("inspect", cfg)


def test_missing_files_are_one_line(pair: "Pair", tmp_path: Path) -> None:
    assert "none.cfg" in refused("inspect", tmp_path / "none.cfg")
    assert "none.weights" in refused("inspect", pair.cfg, tmp_path / "none.weights")


def test_layers_are_written_to_be_timed_elsewhere(pair: "Pair", tmp_path: Path) -> None:
    out = tmp_path / "layers"
    assert run("inspect", pair.cfg, "--layers", tmp_path / "alone").exit_code == 0
    result = run("inspect", pair.cfg, pair.weights, "--layers", out)
    count = len((out / "layers.csv").read_text().splitlines()) - 1
    assert f"{count} layers to time" in result.stdout
    assert (out / "network.onnx").exists()
    assert "choose another" in refused("inspect", pair.cfg, pair.weights, "--layers", out)
