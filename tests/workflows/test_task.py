"""Networks cut to fewer classes: what they compute, what is written, and what is refused."""

import json
import re
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import helper

import yoloprune
from tests.architectures import yolov2
from tests.data.formats.files import label, touch
from tests.frontends.onnx.models import model, node, weights
from tests.reporters import Heard
from yoloprune.detection.decode import decode
from yoloprune.errors import ClassesError, PlanError, UsageError, VerificationError
from yoloprune.frontends.darknet.document import darknet, pair
from yoloprune.frontends.darknet.document import model as darknet_model
from yoloprune.frontends.darknet.initialization import random_state
from yoloprune.graph.model import Model
from yoloprune.pruning.prove import outputs
from yoloprune.workflows.models import load
from yoloprune.workflows.prune import prune
from yoloprune.workflows.pruned_folder import read_cut
from yoloprune.workflows.training_data import training_data, training_source


def test_a_cut_to_a_class_is_the_rows_of_the_dense_network(named: Model, tmp_path: Path) -> None:
    cut = prune(named, classes=["foot"])
    out = tmp_path / "slim"
    assert "slim.names" in cut.save(out)
    assert (out / "slim.names").read_text() == "foot\n"
    slim = load(out)
    assert slim.document.names == ("foot",)
    before, after = darknet(named).spec, darknet(slim).spec
    for old, new in zip(before.heads, after.heads, strict=True):
        assert (old.classes, new.classes, new.channels) == (2, 1, 18)
        assert old.anchors == new.anchors
    rows = [7 * anchor + entry for anchor in range(3) for entry in (0, 1, 2, 3, 4, 6)]
    heads = {f"layer_{head.index - 1}" for head in before.heads}
    for name, array in slim.parameters.items():
        wanted = named.parameters[name]
        assert torch.equal(array, wanted[rows] if name.split(".")[0] in heads else wanted)
    report = json.loads((out / "report.json").read_text())
    assert report["task"]["names"] == ["foot"] and report["task"]["proof"]["equal"] is True
    assert report["task"]["before"]["params"] == named.cost.params > slim.cost.params
    assert "cut to the classes foot: " in (out / "report.md").read_text()
    assert report["slim"]["params"] == slim.cost.params


def test_scores_of_the_class_are_those_of_the_dense_network(named: Model) -> None:
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(1)).double()
    found = []
    for network in (named, prune(named, classes=[1]).slim):
        maps = outputs(network.graph, network.parameters, {"images": images})
        found.append(decode(darknet(network).spec, maps))
    dense, slim = found
    torch.testing.assert_close(slim.boxes, dense.boxes, rtol=1e-12, atol=1e-9)
    torch.testing.assert_close(slim.objectness, dense.objectness, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(slim.classes, dense.classes[..., 1:], rtol=1e-12, atol=1e-12)


def test_shares_are_of_what_the_classes_leave_and_all_is_proven_again(
    named: Model, tmp_path: Path
) -> None:
    cut = prune(named, {"macs": 0.5}, classes=["hand"], multiple_of=1)
    assert 0.45 * cut.dense.cost.macs < cut.slim.cost.macs <= 0.5 * cut.dense.cost.macs
    assert cut.dense.cost.macs < named.cost.macs and cut.origin is named
    out = tmp_path / "slim"
    cut.save(out)
    again = read_cut(out, named)
    assert again.proof.exactness.passed and again.narrowed is not None
    assert again.narrowed.names == ("hand",) and again.narrowed.proof.equal
    assert yoloprune.verify(named, out).shown().lines[-1] == f"{out}: verified"
    with pytest.raises(VerificationError, match="slim against masked dense"):
        read_cut(
            out,
            darknet_model(
                darknet(named).spec, random_state(darknet(named).spec, seed=5), title="other"
            ),
        )


def test_the_dense_network_is_never_replaced(named: Model, tmp_path: Path) -> None:
    prune(named, {"macs": 0.8}, multiple_of=1).save(tmp_path / "slim")
    with pytest.raises(UsageError, match="would replace the dense network"):
        prune(tmp_path / "slim", classes=["hand"]).save(tmp_path / "slim")


def test_a_plan_says_the_classes_and_a_strange_one_is_refused(named: Model, tmp_path: Path) -> None:
    out = tmp_path / "slim"
    prune(named, classes=["hand"]).save(out)
    path = out / "plan.json"
    plan = json.loads(path.read_text())
    assert plan["version"] == 3 and plan["task"]["classes"] == [0]
    for classes in ([1], [0, 1], [7], [-1]):
        path.write_text(json.dumps({**plan, "task": {**plan["task"], "classes": classes}}))
        with pytest.raises(PlanError, match=r"the plan's classes are not those of its heads"):
            read_cut(out, named)
    nothing = {name: {"axis": 1, "kept": []} for name in plan["task"]["outputs"]}
    path.write_text(json.dumps({**plan, "task": {"classes": [0], "outputs": nothing}}))
    with pytest.raises(PlanError, match=r"the plan's classes are not those of its heads"):
        read_cut(out, named)


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        (["face"], "class 'face' is unknown (known: hand, foot; or 0 to 1)"),
        ([2], "class 2 is unknown"),
        (["-1"], "class '-1' is unknown"),
        (["hand", 1], "must be some of its 2, and not all: hand, foot; or 0 to 1"),
    ],
)
def test_classes_that_are_not_there_are_named(
    named: Model, classes: list[str | int], message: str
) -> None:
    with pytest.raises(UsageError, match=re.escape(message)):
        prune(named, classes=classes)


def test_classes_without_names_have_numbers(dense: Model) -> None:
    with pytest.raises(UsageError, match=re.escape("(known: 0 to 1; they have no names)")):
        prune(dense, classes=["hand"])
    cut = prune(dense, classes=["1"])
    assert cut.slim.document.names is None
    assert any("cut to the classes 1: " in line for line in cut.shown().lines)


def test_shares_of_all_classes_cannot_be_cut() -> None:
    spec = yolov2(classes=3, width=0.0625, size=(64, 64))
    network = darknet_model(spec, random_state(spec), title="old")
    with pytest.raises(UsageError, match=r"layer \d+ \[region\]: its scores are shares of all"):
        prune(network, classes=[0])


NAMES = "{0: 'hand', 1: 'foot', 2: 'nose'}"


def exported(path: Path, *, softmax: bool = False, names: str = NAMES) -> Path:
    """A file as Ultralytics exports them, of three classes; one scale, 8x8 cells of 8 pixels."""
    arrays = {"w": weights(8, 3, 8, 8), "wb": weights(4, 8, 1, 1), "wc": weights(3, 8, 1, 1)}
    arrays["flat"] = np.array([1, 7, -1], np.int64)
    nodes = [
        node("Conv", ["x", "w"], ["a"], name="trunk", strides=[8, 8]),
        node("Relu", ["a"], ["b"], name="relu"),
        node("Conv", ["b", "wb"], ["boxes"], name="boxes"),
        node("Conv", ["b", "wc"], ["logits"], name="classes"),
        node("Softmax", ["logits"], ["scores"], name="scores", axis=1)
        if softmax
        else node("Sigmoid", ["logits"], ["scores"], name="scores"),
        node("Concat", ["boxes", "scores"], ["both"], name="both", axis=1),
        node("Reshape", ["both", "flat"], ["y"], name="rows"),
    ]
    made = model(nodes, arrays, inputs={"x": (1, 3, 64, 64)}, outputs={"y": (1, 7, 64)})
    helper.set_model_props(made, {"names": names, "stride": "8"})
    onnx.save_model(made, path)
    return path


def run(path: Path, images: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"x": images})
    return np.asarray(found)


@pytest.mark.parametrize("softmax", [False, True])
def test_an_onnx_file_gives_the_rows_that_are_kept(softmax: bool, tmp_path: Path) -> None:
    dense = exported(tmp_path / "net.onnx", softmax=softmax)
    cut = prune(dense, classes=["nose", "hand"], decoder="yolov8")
    out = tmp_path / "slim"
    cut.save(out)
    images = np.random.default_rng(0).random((1, 3, 64, 64), np.float32)
    found, wanted = run(out / "slim.onnx", images), run(dense, images)[:, [0, 1, 2, 3, 4, 6]]
    np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=1e-7)
    proto = onnx.load(out / "slim.onnx")
    onnx.checker.check_model(proto, full_check=True)
    sizes = [size.dim_value for size in proto.graph.output[0].type.tensor_type.shape.dim]
    assert sizes == [1, 6, 64]
    kernel = {tensor.name: tuple(tensor.dims) for tensor in proto.graph.initializer}["wc"]
    assert kernel[0] == (3 if softmax else 2)
    assert {entry.key: entry.value for entry in proto.metadata_props} == {
        "names": "{0: 'hand', 1: 'nose'}",
        "stride": "8",
    }
    lines = cut.shown().lines
    assert any("no row of its head could go, normalized" in line for line in lines) == softmax
    assert read_cut(out, dense).proof.exactness.passed


def test_names_are_written_as_before(tmp_path: Path) -> None:
    dense = exported(tmp_path / "net.onnx", names='["hand", "foot", "nose"]')
    prune(dense, classes=["foot"], decoder="yolov8").save(tmp_path / "slim")
    assert load(tmp_path / "slim").document.metadata["names"] == '["foot"]'  # type: ignore[attr-defined]


def test_a_file_whose_classes_no_decoder_knows_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no decoder is known to read its outputs"):
        prune(exported(tmp_path / "net.onnx"), classes=["hand"])


def test_class_numbers_cannot_be_cut(tmp_path: Path) -> None:
    arrays = {"w": weights(6, 3, 8, 8), "flat": np.array([1, 64, 6], np.int64)}
    nodes = [
        node("Conv", ["x", "w"], ["a"], name="trunk", strides=[8, 8]),
        node("Reshape", ["a", "flat"], ["y"], name="rows"),
    ]
    made = model(nodes, arrays, inputs={"x": (1, 3, 64, 64)}, outputs={"y": (1, 64, 6)})
    onnx.save_model(made, tmp_path / "net.onnx")
    with pytest.raises(UsageError, match="cannot be left out of it: its output holds class number"):
        prune(tmp_path / "net.onnx", classes=["hand"], decoder="end-to-end")


def test_that_a_decoder_takes_one_class_a_box_is_told(tmp_path: Path) -> None:
    arrays = {"w": weights(7, 3, 16, 16)}
    nodes = [node("Conv", ["x", "w"], ["y"], name="head", strides=[16, 16])]
    made = model(nodes, arrays, inputs={"x": (1, 3, 64, 64)}, outputs={"y": (1, 7, 4, 4)})
    onnx.save_model(made, tmp_path / "net.onnx")
    heard = Heard()
    cut = prune(tmp_path / "net.onnx", classes=["foot"], decoder="fastestdet", reporter=heard)
    assert any("the likeliest class alone counts" in line for line in heard.warnings)
    assert cut.slim.graph.outputs["y"].shape == (1, 6, 4, 4)


def test_training_reads_the_objects_of_the_classes_that_are_left(
    named: Model, tmp_path: Path
) -> None:
    root = tmp_path / "data"
    label(root, "d.names", "hand\nfoot\n")
    for split in ("train", "val"):
        touch(root, f"images/{split}/{split}.jpg")
        label(root, f"labels/{split}/{split}.txt", "0 0.5 0.5 0.5 0.5\n1 0.2 0.2 0.1 0.1\n")
    slim = prune(named, classes=["foot"]).slim
    for dataset in training_data(slim, training_source(root)):
        assert dataset.names == ("foot",)
        assert [image.labels.tolist() for image in dataset.images] == [[0]]
    unnamed = prune(darknet_model(*pair(named), title="net"), classes=[1]).slim
    with pytest.raises(ClassesError, match=r"its classes are 2 \(hand, foot\), the network's 1"):
        training_data(unnamed, training_source(root))
