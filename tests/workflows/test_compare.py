"""Programs side by side: real ones where they are installed, and ones made here that fail."""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from tests.frontends.onnx.models import residual
from yoloprune.engines.onnx_bytes import onnx_bytes
from yoloprune.errors import UsageError
from yoloprune.frontends.darknet.document import model
from yoloprune.frontends.darknet.initialization import training_state
from yoloprune.frontends.darknet.zoo import yolov3_tiny
from yoloprune.workflows import compare as workflow
from yoloprune.workflows.compare import compare
from yoloprune.workflows.comparison import foreign, torch_pruning
from yoloprune.workflows.comparison.foreign import elsewhere
from yoloprune.workflows.comparison.tool import Tool
from yoloprune.workflows.detectors import detector
from yoloprune.workflows.match import match
from yoloprune.workflows.models import load


@pytest.fixture
def net(tmp_path: Path) -> Path:
    onnx.save_model(residual(), tmp_path / "net.onnx")
    return tmp_path / "net.onnx"


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


def test_torch_pruning_is_brought_to_the_budget_and_its_file_verified(net: Path) -> None:
    folder = net.parent
    (folder / "dense.onnx").write_bytes(net.read_bytes())
    foreign._search(torch_pruning.thin, folder, 0.7, 1, folder / "0.onnx")
    slim, dense = load(folder / "0.onnx"), load(net)
    assert slim.cost.macs / dense.cost.macs == pytest.approx(0.7, abs=0.1)
    found = match(dense, slim)
    assert sum(map(len, found.kept.values())) < dense.cost.channels


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


def spoiling(dense: Path, share: float, multiple_of: int) -> onnx.ModelProto:
    """Other numbers in a network of the same shapes."""
    proto = onnx.load(dense)
    kernel = proto.graph.initializer[0]
    array = onnx.numpy_helper.to_array(kernel) * np.float32(1.5)
    kernel.CopyFrom(onnx.numpy_helper.from_array(array, kernel.name))
    return proto


def test_a_file_that_is_not_exact_says_so(net: Path, tmp_path: Path) -> None:
    (tmp_path / "dense.onnx").write_bytes(net.read_bytes())
    foreign._search(spoiling, tmp_path, 0.5, 1, tmp_path / "0.onnx")
    made = foreign.checked(load(net), tmp_path / "0.onnx")
    assert made.exact == "no" and made.remark.startswith("its file: ")
    assert "but it is not exact: outputs differ" in made.remark


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
