from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from tests.frontends.onnx.models import loaded, node, two_convs
from yoloprune.errors import GraphError
from yoloprune.frontends.onnx.sizes import IMAGES


def open_model(middle: list[onnx.NodeProto], **arrays: object) -> onnx.ModelProto:
    outputs = {"y": ("n", 4, "rows", "columns")}
    return two_convs(middle, inputs={"x": ("n", 3, "h", "w")}, outputs=outputs, arrays=arrays)


def test_the_first_usual_size_is_taken_for_what_is_left_open(tmp_path: Path) -> None:
    network = loaded(open_model([]), tmp_path)
    height, width = IMAGES[0]
    assert network.graph.sizes == {"n": 1, "h": height, "w": width}


def test_of_sizes_those_count_with_which_shapes_fit(tmp_path: Path) -> None:
    """A grid of 20 x 20 goes with 320 pixels alone, of those that are tried."""
    middle = [
        node("MaxPool", ["a"], ["p"], kernel_shape=[16, 16], strides=[16, 16]),
        node("Add", ["p", "grid"], ["b"]),
    ]
    network = loaded(open_model(middle, grid=np.ones((1, 8, 20, 20), np.float32)), tmp_path)
    assert (network.graph.sizes["h"], network.graph.sizes["w"]) == (320, 320)
    middle[0] = node("MaxPool", ["a"], ["p"], kernel_shape=[7, 7], strides=[7, 7])
    with pytest.raises(GraphError, match=r"cannot broadcast"):
        loaded(open_model(middle, grid=np.ones((1, 8, 21, 19), np.float32)), tmp_path)


def test_shapes_that_the_file_says_are_kept_where_no_rule_tells_them(tmp_path: Path) -> None:
    proto = open_model([node("Swirl", ["a"], ["b"], domain="own")])
    proto.opset_import.add(domain="own", version=1)
    shape = ("n", 8, "h", "w")
    proto.graph.value_info.append(helper.make_tensor_value_info("b", TensorProto.FLOAT, shape))
    graph = loaded(proto, tmp_path).graph
    assert graph.observed == {"b": (1, 8, *IMAGES[0])}
