"""The script for the machine where a network is to run: what it writes is a table of timings."""

import ast
import runpy
import sys
from pathlib import Path

import pytest

from tests.random_networks import random_state
from yoloprune.engines.layer_models import write_layer_models
from yoloprune.frontends.darknet.document import model
from yoloprune.frontends.darknet.zoo import yolov3_tiny
from yoloprune.pruning.clock import listed_layers
from yoloprune.pruning.groups import analyze
from yoloprune.pruning.layer_times import read_timings

SCRIPT = Path(__file__).parents[2] / "examples" / "time_layers.py"

SPEC = yolov3_tiny(classes=1, width=0.125, size=(64, 64))
NETWORK = model(SPEC, random_state(SPEC), title="tiny")


def test_what_the_script_writes_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    layers = listed_layers(analyze(NETWORK.graph))[::25]
    write_layer_models(tmp_path, layers, NETWORK)
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), str(tmp_path), "1"])
    runpy.run_path(str(SCRIPT))
    found = read_timings(tmp_path / "timings.csv")
    assert list(found.layers) == layers
    assert found.network is not None and found.network > 0
    assert f"{len(layers)} of {len(layers)} layers" in capsys.readouterr().out


def test_the_script_is_short_and_needs_onnxruntime_alone() -> None:
    text = SCRIPT.read_text()
    assert len(text.splitlines()) <= 60
    imported = {
        name.split(".")[0]
        for node in ast.walk(ast.parse(text))
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    # NumPy is there where onnxruntime is.
    assert imported - set(sys.stdlib_module_names) == {"numpy", "onnxruntime"}
