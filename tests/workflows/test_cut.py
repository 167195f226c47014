"""What a cut shows, and what its folder holds."""

import json
from pathlib import Path

import onnx
import pytest
import torch

import yoloprune
from tests.frontends.onnx.models import residual
from tests.workflows.test_depth import residual_network
from yoloprune.errors import UsageError, VerificationError
from yoloprune.exporters.interface import OnnxForm
from yoloprune.frontends.darknet.document import model, pair
from yoloprune.frontends.darknet.initialization import random_state
from yoloprune.frontends.darknet.zoo import yolov3_tiny
from yoloprune.frontends.onnx import write
from yoloprune.graph.graph import Node
from yoloprune.graph.model import Model
from yoloprune.workflows.models import load
from yoloprune.workflows.prune import prune
from yoloprune.workflows.pruned_folder import read_cut


def test_the_dense_network_is_never_replaced(dense: Model, tmp_path: Path) -> None:
    out = tmp_path / "slim"
    prune(dense, {"macs": 0.7}).save(out)
    before = (out / "slim.weights").read_bytes()
    with pytest.raises(UsageError, match="would replace the dense network"):
        prune(load(out), {"macs": 0.7}).save(out)
    assert (out / "slim.weights").read_bytes() == before


def test_a_folder_that_cannot_be_filled_is_left_as_it_was(dense: Model, tmp_path: Path) -> None:
    out = tmp_path / "slim"
    (out / "slim.cfg").mkdir(parents=True)
    with pytest.raises(OSError, match=r"slim\.cfg"):
        prune(dense, {"macs": 0.5}).save(out)
    assert [path.name for path in out.iterdir()] == ["slim.cfg"]
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize("fault", ["operator", "filters"])
def test_what_was_written_is_the_network_that_was_proven(
    fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    onnx.save_model(residual(), tmp_path / "net.onnx")
    cut = prune(tmp_path / "net.onnx", {"macs": 0.6}, multiple_of=1)

    def wrong(proto: onnx.NodeProto, before: Node, after: Node) -> None:
        if fault == "operator" and proto.name == "sum":
            del proto.input[1]
        elif fault == "filters" and proto.name == "relu1":
            proto.op_type = "Tanh"

    monkeypatch.setattr(write, "_change", wrong)
    with pytest.raises(VerificationError, match=r"what was written (cannot be read|is not)"):
        cut.save(tmp_path / "slim")
    assert not (tmp_path / "slim").exists()


def test_a_cut_shows_itself(dense: Model) -> None:
    cut = yoloprune.prune(dense, {"macs": 0.5})
    assert "| Slim |" in str(cut) and "slim = masked dense" in str(cut)
    assert len(str(cut).splitlines()) < 12
    assert repr(cut).startswith("<Cut dense: ") and "\n" not in repr(cut)
    assert "<table>" in cut._repr_html_()
    assert json.loads(json.dumps(cut.shown().document))["slim"]["macs"] > 0


def test_a_cut_says_what_rounding_costs() -> None:
    dense = residual_network()
    coarse, fine = (yoloprune.prune(dense, {"macs": 0.7}, multiple_of=n) for n in (8, 1))
    share = coarse.slim.cost.macs / dense.cost.macs
    assert share < 0.6 and f"{share:.2f} of the MACs are kept, where 0.70 was" in str(coarse)
    assert "multiple_of" not in str(fine)


def test_a_network_that_is_in_no_file_is_pruned(tmp_path: Path) -> None:
    spec = yolov3_tiny(classes=1, width=0.125, size=(64, 64))
    dense = model(spec, random_state(spec, seed=3), title="made")
    cut = prune(dense, {"macs": 0.6})
    cut.save(tmp_path / "slim")
    again = read_cut(tmp_path / "slim", dense)
    for index, parameters in pair(cut.slim)[1].items():
        for (_, a), (_, b) in zip(
            parameters.items(), pair(again.slim)[1][index].items(), strict=True
        ):
            assert torch.equal(a.float(), b)


def test_a_network_that_came_as_an_onnx_has_no_other_form(tmp_path: Path) -> None:
    onnx.save_model(residual(), tmp_path / "net.onnx")
    cut = prune(tmp_path / "net.onnx", {"macs": 0.6}, multiple_of=1)
    with pytest.raises(UsageError, match=r"came as an \.onnx and is written as one"):
        cut.save(tmp_path / "slim", onnx=OnnxForm())
    assert not (tmp_path / "slim").exists()
