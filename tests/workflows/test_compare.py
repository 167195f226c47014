"""Programs side by side: real ones where they are installed, and ones made here that fail."""

import json
from collections.abc import Mapping
from pathlib import Path

import onnx
import pytest
import torch

from yoloprune.engines.onnx_bytes import onnx_bytes
from yoloprune.errors import UsageError
from yoloprune.frontends.darknet.document import model
from yoloprune.frontends.darknet.initialization import training_state
from yoloprune.frontends.darknet.zoo import yolov3_tiny
from yoloprune.workflows import compare as workflow
from yoloprune.workflows.compare import compare
from yoloprune.workflows.comparison import foreign
from yoloprune.workflows.comparison.foreign import elsewhere
from yoloprune.workflows.comparison.tool import Tool
from yoloprune.workflows.detectors import detector
from yoloprune.workflows.models import load


def rows(monkeypatch: pytest.MonkeyPatch, **tools: Tool) -> None:
    known: Mapping[str, Tool] = {tool.name: tool for tool in tools.values()}
    monkeypatch.setattr(workflow, "TOOLS", known)


def crashing(dense: Path, share: float, multiple_of: int) -> onnx.ModelProto:
    raise KeyError("no such\nchannel")


def test_our_own_meet_the_same_budget_and_lie_in_folders(net: Path, tmp_path: Path) -> None:
    found = compare(net, budgets=[0.6, 0.8], tools=["ours", "uniform"], runs=1)
    assert [(row.tool, row.share) for row in found.rows] == [
        ("ours", 0.8), ("uniform", 0.8), ("ours", 0.6), ("uniform", 0.6)
    ]  # fmt: skip
    for row in found.rows:
        assert row.kept is not None and row.kept <= row.share
        assert row.error is not None and row.error > 0 and row.latency is not None
        assert row.made is not None and row.made.exact == "yes"
    assert found.dense.error == 0 and found.dense.kept == 1
    names = found.save(tmp_path / "out")
    assert {"ours-0.8", "uniform-0.6", "compare.json", "compare.md"} <= set(names)
    slim = load(tmp_path / "out" / "uniform-0.6")
    assert slim.cost.macs / load(net).cost.macs == found.rows[3].kept
    document = json.loads((tmp_path / "out" / "compare.json").read_text())
    assert [row["share"] for row in document["rows"]] == [0.8, 0.8, 0.6, 0.6]


def test_a_tool_that_fails_is_a_row(net: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows(
        monkeypatch,
        a=Tool(name="crashing", about="", make=elsewhere(crashing)),
        b=Tool(name="absent", about="", make=elsewhere(crashing), modules=("not_there",),
               install="pip install not-there"),
    )  # fmt: skip
    found = compare(net, budgets=[0.7], runs=1)
    assert [row.remark for row in found.rows] == [
        "fails on this network (KeyError: 'no such\\nchannel')",
        "not installed: pip install not-there",
    ]
    assert all(row.made is None and row.kept is None for row in found.rows)
    assert "nothing at 0.7" in found.shown().summary


def test_a_tool_that_hangs_is_stopped(net: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows(monkeypatch, a=Tool(name="hanging", about="", make=elsewhere(crashing)))
    monkeypatch.setattr(foreign, "SECONDS", 0.01)
    (row,) = compare(net, budgets=[0.7], runs=1).rows
    assert row.remark == "gave nothing in 0.01 s"


def test_what_cannot_be_asked_for(net: Path) -> None:
    with pytest.raises(UsageError, match=r"`tools` 'theirs' is not known: choose from ours, l2"):
        compare(net, tools=["theirs"])
    with pytest.raises(
        UsageError, match=r"`budgets` are shares of the MACs in \(0, 1\), not \[2\]"
    ):
        compare(net, budgets=[2])


def test_what_became_of_a_darknet_network_is_read_as_that_one(tmp_path: Path) -> None:
    spec = yolov3_tiny(classes=2, width=0.0625, size=(64, 64))
    dense = model(spec, training_state(spec), title="dense")
    (tmp_path / "theirs.onnx").write_bytes(onnx_bytes(dense))
    theirs = detector(load(tmp_path / "theirs.onnx"), device="cpu", read_as=dense)
    images = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    found, expected = theirs.predict(images), detector(dense, device="cpu").predict(images)
    assert torch.allclose(found.boxes, expected.boxes, rtol=1e-4)
    assert torch.allclose(found.objectness, expected.objectness, rtol=1e-4)
