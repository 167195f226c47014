"""Programs side by side: real ones where they are installed, and ones made here that fail."""

import json
import statistics
from collections.abc import Mapping
from pathlib import Path

import onnx
import pytest
import torch

from tests.reporters import Heard
from yoloprune.engines.onnx_bytes import onnx_bytes
from yoloprune.errors import UsageError
from yoloprune.files import file_sha256
from yoloprune.frontends.darknet.document import model
from yoloprune.frontends.darknet.initialization import training_state
from yoloprune.frontends.darknet.zoo import yolov3_tiny
from yoloprune.graph.model import Model
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


def test_what_depends_on_a_seed_runs_with_several(
    detector: Model, painted: Path, tmp_path: Path
) -> None:
    heard = Heard()
    found = compare(
        detector, budgets=[0.8], tools=["ours", "l2", "wanda", "recalibrated", "random"],
        images=painted, data=painted, split="test", calibration_images=4, runs=1, seeds=2,
        reporter=heard,
    )  # fmt: skip
    assert [(row.tool, row.seed) for row in found.rows] == [
        ("ours", 0), ("ours", 1), ("l2", None), ("wanda", 0), ("wanda", 1), ("recalibrated", 0),
        ("recalibrated", 1), ("random", 0), ("random", 1),
    ]  # fmt: skip
    errors = {row.name: row.error for row in found.rows}
    assert errors["random-0.8-seed-0"] != errors["random-0.8-seed-1"]
    assert errors["ours-0.8-seed-0"] != errors["ours-0.8-seed-1"]
    learned = [row.made.cut.learned_from for row in found.rows if row.made and row.made.cut]
    tested = {file_sha256(path) for path in (painted / "images" / "test").iterdir()}
    assert all(tested.isdisjoint(each.values()) for each in learned)
    assert any("4 images left out" in line for line in heard.warnings)
    ours, exact = found.shown().rows[1], [row[-1] for row in found.shown().rows[1:]]
    values = [row.error for row in found.rows[:2] if row.error is not None]
    assert ours[4] == f"{statistics.mean(values):.3f} ± {statistics.stdev(values):.3f}"
    shares = [(row.accuracy, row.shown) for row in (found.dense, *found.rows)]
    assert all(0 <= own <= 1 for both in shares for own in both if own is not None)
    assert None not in shares[0]
    assert exact == [
        "yes, then re-fitted", "yes", "yes", "yes, then recalibrated", "yes"
    ]  # fmt: skip
    assert "ours-0.8-seed-1" in found.save(tmp_path / "out")


def test_tools_that_learn_from_images_say_so_without(detector: Model) -> None:
    found = compare(detector, budgets=[0.8], tools=["wanda", "recalibrated"], runs=1)
    assert [row.remark for row in found.rows] == ["needs images to learn from"] * 2
    with pytest.raises(UsageError, match="`seeds` 0 must be at least 1"):
        compare(detector, seeds=0)
