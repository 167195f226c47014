import time
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.frontends.onnx.models import loaded, node, number, two_convs
from yoloprune.errors import GraphError
from yoloprune.frontends.onnx import observe
from yoloprune.frontends.onnx.observe import limits, observed, said
from yoloprune.graph.builder import GraphBuilder
from yoloprune.pruning.groups import analyze


def looping(condition: np.ndarray, count: int) -> onnx.ModelProto:
    """A loop in the middle whose shapes no rule tells."""
    none = helper.make_tensor_value_info("state", TensorProto.FLOAT, None)
    body = helper.make_graph(
        [node("Identity", ["go"], ["on"]), node("Relu", ["state"], ["next"])],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            none,
        ],
        [
            helper.make_tensor_value_info("on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("next", TensorProto.FLOAT, None),
        ],
    )
    middle = [node("Loop", ["times", "go", "a"], ["b"], name="loop", body=body)]
    return two_convs(middle, arrays={"times": number(count), "go": condition})


def test_loops_freeze_what_they_read_by_name(tmp_path: Path) -> None:
    network = loaded(looping(np.array(True), 3), tmp_path)
    assert network.graph.observed == {"b": (1, 8, 8, 8)}
    reasons = {group.frozen_because for group in analyze(network.graph).groups}
    assert "read by loop (Loop)" in reasons


def test_a_loop_without_end_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(observe, "SECONDS", 1)
    started = time.monotonic()
    with pytest.raises(GraphError, match="Loop, an operator that is not known, and ONNX R"):
        loaded(looping(np.array(True), 1 << 60), tmp_path)
    assert time.monotonic() - started < 10


def test_a_run_takes_no_more_memory_than_it_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    proto = looping(np.array(True), 1)
    (loop,) = (own for own in proto.graph.node if own.op_type == "Loop")
    loop.input[2] = "large"
    proto.graph.node.insert(1, node("Tile", ["a", "many"], ["large"]))
    many = numpy_helper.from_array(np.array([1, 1, 1 << 8, 1 << 7]), "many")
    proto.graph.initializer.append(many)
    proto.graph.node.insert(3, node("Slice", ["b", "o", "eight", "axes"], ["c"]))
    for name, numbers in (("o", [0, 0]), ("eight", [8, 8]), ("axes", [2, 3])):
        proto.graph.initializer.append(numpy_helper.from_array(np.array(numbers), name))
    proto.graph.node[4].input[0] = "c"
    assert loaded(proto, tmp_path).graph.observed["b"] == (1, 8, 1 << 11, 1 << 10)
    monkeypatch.setattr(observe, "LEAST_BYTES", 1 << 27)
    with pytest.raises(GraphError, match="node loop is a Loop"):
        loaded(proto, tmp_path)


def test_shapes_that_a_file_says_are_taken_where_they_are_whole() -> None:
    proto = two_convs()
    for name, shape in (("a", (1, 8, "h", 8)), ("b", (1, 8, "w", 8)), ("c", None)):
        info = helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        proto.graph.value_info.append(info)
    assert said(proto, {"h": 5}) == {"a": (1, 8, 5, 8), "y": (1, 4, 8, 8)}


def test_the_first_sizes_that_a_network_runs_with_count(tmp_path: Path) -> None:
    proto = two_convs(inputs={"x": (1, "c", 8, "w")}, outputs={"y": (1, 4, 8, "w")})
    graph = GraphBuilder(opset=17)
    built = graph.build({graph.node("n", "Relu", graph.input("x", (1, "c", 8, "w"))): (1,)})
    tried = [{"c": 4, "w": 6}, {"c": 3, "w": 5}, {"c": 3, "w": 6}]
    found = observed(proto, tmp_path, built, tried)
    assert found is not None
    assert found[0] == {"c": 3, "w": 5}
    assert found[1] == {"a": (1, 8, 8, 5), "b": (1, 8, 8, 5), "y": (1, 4, 8, 5)}
    assert observed(proto, tmp_path, built, tried[:1]) is None
    assert limits(built) == "60 s and 1.0 GB"
