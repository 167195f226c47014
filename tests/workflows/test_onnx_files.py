"""ONNX files through every workflow that needs no training; ONNX Runtime is the referee."""

import json
from pathlib import Path

import cv2
import ml_dtypes
import numpy as np
import onnx
import onnxruntime
import pytest

from tests.frontends.onnx.models import residual, two_convs
from tests.reporters import Heard
from yoloprune.data.calibration import read_calibration
from yoloprune.data.inputs import image_input
from yoloprune.errors import (
    GraphError,
    PlanError,
    UsageError,
    VerificationError,
    YoloPruneError,
)
from yoloprune.graph.model import Model
from yoloprune.workflows.benchmark import benchmark
from yoloprune.workflows.inspect import inspect
from yoloprune.workflows.models import load
from yoloprune.workflows.prune import prune
from yoloprune.workflows.pruned_folder import read_cut
from yoloprune.workflows.recover import recover
from yoloprune.workflows.verify import verify

FILES = ["plan.json", "report.json", "report.md", "slim.onnx"]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Twelve smooth pictures of different sizes."""
    folder = tmp_path / "photos"
    folder.mkdir()
    generator = np.random.default_rng(0)
    for number in range(12):
        coarse = generator.integers(0, 256, (5, 7, 3), np.uint8)
        size = (40 + number, 60)
        cv2.imwrite(str(folder / f"{number:02}.png"), cv2.resize(coarse, size))
    return folder


def run(path: Path, images: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {session.get_inputs()[0].name: images})
    return np.asarray(found)


def test_an_onnx_file_is_pruned_into_a_folder_that_is_a_network(net: Path, tmp_path: Path) -> None:
    cut = prune(net, {"macs": 0.6}, multiple_of=1)
    out = tmp_path / "slim"
    assert sorted(cut.save(out)) == sorted(path.name for path in out.iterdir()) == FILES
    report = json.loads((out / "report.json").read_text())
    assert report["slim"]["macs"] <= 0.6 * report["dense"]["macs"]
    assert report["slim"]["verification"]["relative_error"] <= 1e-12
    proto = onnx.load(out / "slim.onnx")
    kept = {tensor.name: tensor.dims[0] for tensor in proto.graph.initializer}
    assert report["layers"] == {
        name: {"dense": count, "slim": kept[weights]}
        for name, count, weights in (
            *(("first", 16, "w1"), ("second", 16, "w2")),
            *(("third", 24, "w3"), ("head", 6, "w4")),
        )
    }
    text = (out / "report.md").read_text()
    assert "for one image of 16x16" in text and "| first | 16 |" in text
    slim = load(out)
    assert slim.document.title == "slim"
    assert slim.graph.digest() == cut.slim.graph.digest()
    assert inspect(out).total == slim.cost == cut.slim.cost
    # It is pruned again, and never over itself.
    assert prune(out, {"macs": 0.8}, multiple_of=1).slim.cost.macs < slim.cost.macs
    with pytest.raises(UsageError, match="would replace the dense network"):
        prune(out, {"macs": 0.8}, multiple_of=1).save(out)


def test_a_folder_is_verified_recovered_and_verified(
    net: Path, photos: Path, tmp_path: Path
) -> None:
    prune(net, {"macs": 0.6}, multiple_of=1).save(tmp_path / "slim")
    before = (tmp_path / "slim" / "slim.onnx").read_bytes()
    found = verify(net, tmp_path / "slim", images=photos, engine="onnxruntime")
    assert found.engine_error is not None and found.engine_error < 1e-5
    assert not found.exports
    cut = recover(read_cut(tmp_path / "slim", net), photos, calibration_images=8)
    cut.save(tmp_path / "slim")
    assert (tmp_path / "slim" / "slim.onnx").read_bytes() != before
    assert cut.recovery is not None
    assert cut.recovery["read_as"] == "RGB in [0, 1], 16x16 by letterbox"
    # What it says of the outputs, ONNX Runtime says too.
    (error,) = cut.recovery["heads"]["after"]
    unseen = read_calibration(load(net), photos, 8, seed=0).unseen.numpy()
    dense, slim = (
        np.concatenate([run(path, image[None]) for image in unseen]).astype(float)
        for path in (net, tmp_path / "slim" / "slim.onnx")
    )
    spread = dense - dense.mean(axis=(0, 2, 3), keepdims=True)
    assert error == pytest.approx(
        np.sqrt(((slim - dense) ** 2).sum() / (spread**2).sum()), rel=1e-4
    )
    assert error < cut.recovery["heads"]["before"][0]
    again = verify(net, tmp_path / "slim", images=photos)
    assert again.heads is not None and "verified" in str(again)
    proto = onnx.load(tmp_path / "slim" / "slim.onnx")
    proto.graph.initializer[0].raw_data = b"\1" * len(proto.graph.initializer[0].raw_data)
    onnx.save_model(proto, tmp_path / "slim" / "slim.onnx")
    with pytest.raises(VerificationError, match="not the weights that report"):
        verify(net, tmp_path / "slim")


def test_another_dense_file_is_refused(net: Path, photos: Path, tmp_path: Path) -> None:
    cut = recover(prune(net, {"macs": 0.6}), photos, calibration_images=4)
    cut.save(tmp_path / "slim")
    proto = onnx.load(net)
    proto.graph.initializer[0].raw_data = proto.graph.initializer[0].raw_data[::-1]
    onnx.save_model(proto, tmp_path / "other.onnx")
    with pytest.raises(PlanError, match=r"other\.onnx: not the dense weights"):
        read_cut(tmp_path / "slim", tmp_path / "other.onnx")


def test_what_is_frozen_is_said_by_name(net: Path) -> None:
    found = inspect(net)
    document = json.loads(json.dumps(found.shown().document))
    assert [row["name"] for row in document["layers"]][:3] == ["first", "norm1", "relu1"]
    assert document["layers"][3]["sources"] == ["relu1"]
    reasons = {tuple(g["producers"]): g["frozen_because"] for g in document["groups"]}
    assert reasons == {("first", "second"): None, ("third",): None, ("head",): "network output y"}
    macs = 256 * (16 * 27 + 16 * 144 + 24 * 16 + 6 * 24)
    assert document["macs"] == macs == found.total.macs
    assert document["input_shape"] == [3, 16, 16]
    assert found.layers().rows[-1] == ("head", "Conv", "16x16x6x1", "144", "0.0")


@pytest.mark.parametrize("engines", [[], ["opencv"]])
def test_onnx_files_are_timed_as_they_are(net: Path, engines: list[str], tmp_path: Path) -> None:
    prune(net, {"macs": 0.6}).save(tmp_path / "slim")
    found = benchmark(net, tmp_path / "slim", engines=engines, runs=2, warmup=0)
    assert len(found.engines) >= (1 if engines else 2)
    assert found.networks == (str(net), str(tmp_path / "slim" / "slim.onnx"))


def test_engines_that_cannot_run_a_file_are_left_out(tmp_path: Path) -> None:
    body = onnx.helper.make_graph(
        [onnx.helper.make_node("Relu", ["a"], ["inside"])],
        "body",
        [],
        [onnx.helper.make_tensor_value_info("inside", onnx.TensorProto.FLOAT, None)],
    )
    choice = onnx.helper.make_node("If", ["yes"], ["b"], then_branch=body, else_branch=body)
    proto = two_convs([choice], arrays={"yes": np.array(True)})
    onnx.save_model(proto, tmp_path / "net.onnx")
    heard = Heard()
    found = benchmark(tmp_path / "net.onnx", runs=1, warmup=0, reporter=heard)
    assert "ONNX Runtime" in {result.engine for result in found.engines}
    assert any("torch is left out" in text and "a If" in text for text in heard.warnings)
    with pytest.raises(GraphError, match="an operator that is not known"):
        benchmark(tmp_path / "net.onnx", engines=["torch"], runs=1, warmup=0)
    # bfloat16 is nothing that it computes in.
    half = residual()
    for value in (*half.graph.input, *half.graph.output):
        value.type.tensor_type.elem_type = onnx.TensorProto.BFLOAT16
    for tensor in half.graph.initializer:
        array = onnx.numpy_helper.to_array(tensor).astype(ml_dtypes.bfloat16)
        tensor.CopyFrom(onnx.numpy_helper.from_array(array, tensor.name))
    onnx.save_model(half, tmp_path / "half.onnx")
    with pytest.raises(GraphError, match="ONNX Runtime cannot run it: "):
        benchmark(tmp_path / "half.onnx", engines=["onnxruntime"], runs=1, warmup=0)


def test_what_no_channel_can_be_removed_of_is_refused(tmp_path: Path) -> None:
    nodes = [
        onnx.helper.make_node("Mystery", ["x", "w"], ["a"], domain="own"),
        onnx.helper.make_node("Relu", ["a"], ["y"]),
    ]
    shapes = {"x": (1, 3, 8, 8), "y": (1, 3, 8, 8)}
    values = [
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)
        for name, shape in (*shapes.items(), ("a", shapes["y"]))
    ]
    weights = [onnx.numpy_helper.from_array(np.ones((3, 3), np.float32), "w")]
    proto = onnx.helper.make_model(
        onnx.helper.make_graph(
            nodes, "net", values[:1], values[1:2], weights, value_info=values[2:]
        ),
        opset_imports=[onnx.helper.make_opsetid("", 17), onnx.helper.make_opsetid("own", 1)],
    )
    onnx.save_model(proto, tmp_path / "net.onnx")
    found = inspect(tmp_path / "net.onnx").shown()
    assert found.document["unknown_operators"] == {"own.Mystery": 1}
    assert found.lines[0] == "not known, so what it reads is frozen: 1 own.Mystery"
    with pytest.raises(PlanError, match="no channels can be removed: no layer has a kernel"):
        prune(tmp_path / "net.onnx", {"macs": 0.6})


def test_criteria_on_images_need_no_head_that_is_known(net: Path, photos: Path) -> None:
    cuts = [
        prune(net, {"macs": 0.6}, criterion=criterion, images=photos, calibration_images=8)
        for criterion in ("reconstruction", "activation")
    ]
    # One image at a time, three and noise: what the network reads at once.
    assert [cut.settings["verification_images"] for cut in cuts] == [4, 4]
    with pytest.raises(UsageError, match="a Darknet network"):
        prune(net, {"macs": 0.6}, criterion="taylor", images=photos)


@pytest.mark.parametrize("shape", [(1, 5, 16, 16), (1, 16, 16, 3)])
def test_what_reads_no_images_is_given_none(
    shape: tuple[int, ...], photos: Path, tmp_path: Path
) -> None:
    """Channels may come last, but not five of them."""
    proto = residual((1, 3, 16, 16))
    proto.graph.node[0].input[0] = "moved"
    del proto.graph.input[0].type.tensor_type.shape.dim[:]
    for size in shape:
        proto.graph.input[0].type.tensor_type.shape.dim.add(dim_value=size)
    if shape[1] == 5:
        cut = onnx.helper.make_node("Split", ["x"], ["moved", "rest"], axis=1)
        cut.input.append("sizes")
        proto.graph.initializer.append(onnx.numpy_helper.from_array(np.array([3, 2]), "sizes"))
    else:
        cut = onnx.helper.make_node("Transpose", ["x"], ["moved"], perm=[0, 3, 1, 2])
    proto.graph.node.insert(0, cut)
    onnx.save_model(proto, tmp_path / "net.onnx")
    network = load(tmp_path / "net.onnx")
    assert prune(network, {"macs": 0.6}).proof.exactness.passed
    if shape[3] == 3:
        assert prune(network, {"macs": 0.6}, images=photos).proof.exactness.passed
        assert image_input(network).preprocess.layout == "nhwc"
        return
    with pytest.raises(GraphError, match=r"its input x is float32 \(1, "):
        prune(network, {"macs": 0.6}, images=photos)


def test_folders_hold_one_network_or_say_so(net: Path, dense: Model, tmp_path: Path) -> None:
    folder, empty = tmp_path / "slim", tmp_path / "empty"
    empty.mkdir()
    prune(net, {"macs": 0.6}).save(folder)
    with pytest.raises(UsageError, match="is a folder"):
        load(folder, net)
    with pytest.raises(UsageError, match="holds its weights itself"):
        load(net, tmp_path / "dense.weights")
    with pytest.raises(YoloPruneError, match=r"looked for .*slim\.onnx"):
        load(empty)
    # A Darknet network takes the place of it, whole.
    prune(dense, {"macs": 0.6}).save(folder)
    assert load(folder).document.suffix == ".cfg"
    assert not (folder / "slim.onnx").exists()
