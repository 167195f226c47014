"""ONNX networks for another size are what an exporter would have written for it."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from yoloprune.engines.onnx_bytes import onnx_bytes
from yoloprune.errors import GraphError
from yoloprune.frontends.onnx.read import read
from yoloprune.frontends.onnx.resized import for_input_size, image_size
from yoloprune.graph.model import Model


def written(path: Path, height: int, width: int, end: str = "") -> Model:
    """A network whose shuffle, enlargement and flattening are told sizes in numbers."""
    rows, columns = height // 2, width // 2
    arrays: dict[str, object] = {
        "kernel": np.random.default_rng(0).normal(size=(4, 3, 3, 3)).astype(np.float32),
        "apart": [4, 1, rows * columns],
        "together": [2, 2, 1, rows, columns],
        "turned": [1, 4, rows, columns],
        "large": [1, 4, 2 * rows, 2 * columns],
        "flat": [1, 4, 4 * rows * columns],
        "anchors": np.ones((1, 1, 4 * rows * columns), np.float32),
        "picked": [3],
        "zero": [0],
        "last": [2],
        "most": [2 * columns + 4 * rows],
    }
    nodes = [
        helper.make_node("Conv", ["image", "kernel"], ["c"], strides=[2, 2], pads=[1, 1, 1, 1]),
        helper.make_node("Reshape", ["c", "apart"], ["r1"]),
        helper.make_node("Reshape", ["r1", "together"], ["r2"]),
        helper.make_node("Transpose", ["r2"], ["r3"], perm=[1, 0, 2, 3, 4]),
        helper.make_node("Reshape", ["r3", "turned"], ["r4"]),
        helper.make_node("Resize", ["r4", "", "", "large"], ["r5"]),
        helper.make_node("Reshape", ["r5", "flat"], ["r6"]),
        {
            "": helper.make_node("Relu", ["r6"], ["y"]),
            "anchors": helper.make_node("Add", ["r6", "anchors"], ["y"]),
            "gather": helper.make_node("Gather", ["r6", "picked"], ["y"], axis=2),
            "slice": helper.make_node("Slice", ["r6", "zero", "most", "last"], ["y"]),
            "pool": helper.make_node(
                "AveragePool", ["r5"], ["y"], kernel_shape=[2 * rows, 2 * columns]
            ),
        }[end],
    ]
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 3, height, width])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(own), name) for name, own in arrays.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(onnx.shape_inference.infer_shapes(model), path)
    return read(path)


def test_it_is_the_network_of_that_size(tmp_path: Path) -> None:
    old = written(tmp_path / "a.onnx", 32, 48)
    sized, own = for_input_size(old, 16, 24), written(tmp_path / "b.onnx", 16, 24)
    assert image_size(old) == (32, 48) and image_size(sized) == (16, 24)
    assert sized.document.title == "a" and not sized.document.source
    assert sized.graph.inputs["image"].shape == ("n", 3, 16, 24)
    assert sized.graph.outputs["y"].shape == (1, 4, 384)
    image = np.random.default_rng(1).normal(size=(1, 3, 16, 24)).astype(np.float32)
    found, wanted = (
        onnxruntime.InferenceSession(onnx_bytes(model), providers=["CPUExecutionProvider"]).run(
            None, {"image": image}
        )
        for model in (sized, own)
    )
    assert np.array_equal(found[0], wanted[0])
    assert for_input_size(old, 32, 48) is old
    names = [tensor.name for tensor in onnx.load_from_string(onnx_bytes(sized)).graph.initializer]
    assert "kernel" in names and "flat" not in names


@pytest.mark.parametrize(
    ("end", "reason"),
    [
        ("anchors", "cannot broadcast"),
        ("gather", "picks places"),
        ("slice", "picks places"),
        ("pool", "pools over a map"),
    ],
)
def test_what_holds_for_one_size_alone_is_told(tmp_path: Path, end: str, reason: str) -> None:
    old = written(tmp_path / "a.onnx", 32, 32, end)
    with pytest.raises(GraphError, match=f"a: it is for images of 32x32, and not of .*{reason}"):
        for_input_size(old, *((64, 64) if end in ("slice", "pool") else (16, 16)))
