"""What an ONNX file may look like: each is pruned exactly, or says in a line why it is not read."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from tests.frontends.onnx.models import (
    check,
    copied,
    free,
    loaded,
    model,
    node,
    slimmed,
    two_convs,
    weights,
)
from tests.frontends.onnx.models import written as saved
from yoloprune.errors import GraphError
from yoloprune.frontends.onnx import read as reader
from yoloprune.frontends.onnx.document import OnnxDocument
from yoloprune.frontends.onnx.read import read
from yoloprune.pruning.groups import analyze


def test_an_array_that_two_read_is_cut_for_each_alone(tmp_path: Path) -> None:
    middle = [
        node("Relu", ["a"], ["b"], name="relu"),
        node("Conv", ["x", "w1", "c1"], ["z"], name="whole", pads=[1] * 4),
    ]
    outputs = {"y": (1, 4, 8, 8), "z": (1, 8, 8, 8)}
    proto = check(loaded(two_convs(middle, outputs=outputs), tmp_path), tmp_path, "first")
    assert list(proto.graph.node[2].input) == ["x", "w1", "c1"]
    assert proto.graph.node[0].input[1] == "w1.1"


def test_kernels_that_are_transposed_first(tmp_path: Path) -> None:
    arrays = {"w1": weights(8, 3), "w2": weights(5, 8)}
    nodes = [
        node("Transpose", ["w1"], ["t1"], perm=[1, 0]),
        node("MatMul", ["x", "t1"], ["a"], name="first"),
        node("Relu", ["a"], ["b"]),
        node("Transpose", ["w2"], ["t2"], perm=[1, 0]),
        node("MatMul", ["b", "t2"], ["y"], name="second"),
    ]
    proto = model(nodes, arrays, inputs={"x": (7, 3)}, outputs={"y": (7, 5)})
    check(loaded(proto, tmp_path), tmp_path, "first")


@pytest.mark.parametrize("dtype", [TensorProto.FLOAT16, TensorProto.BFLOAT16])
def test_numbers_of_half_precision(dtype: int, tmp_path: Path) -> None:
    proto = two_convs(dtype=dtype, opset=22)
    for tensor in proto.graph.initializer:
        half = numpy_helper.to_array(tensor).astype(helper.tensor_dtype_to_np_dtype(dtype))
        tensor.CopyFrom(numpy_helper.from_array(half, tensor.name))
    slim, found, _ = slimmed(loaded(proto, tmp_path))
    assert found.passed
    assert {t.data_type for t in saved(slim, tmp_path).graph.initializer} == {dtype}


def test_initializers_that_are_inputs_too(tmp_path: Path) -> None:
    proto = two_convs(opset=11)
    proto.ir_version = 3
    for tensor in proto.graph.initializer:
        proto.graph.input.append(
            helper.make_tensor_value_info(tensor.name, TensorProto.FLOAT, tensor.dims)
        )
    network = loaded(proto, tmp_path)
    assert list(network.graph.inputs) == ["x"]
    graph = check(network, tmp_path, "first").graph
    shapes = {v.name: [d.dim_value for d in v.type.tensor_type.shape.dim] for v in graph.input}
    assert all(list(tensor.dims) == shapes[tensor.name] for tensor in graph.initializer)


def test_nodes_in_any_order_without_names(tmp_path: Path) -> None:
    proto = two_convs()
    for own in proto.graph.node:
        own.name = ""
    nodes = copied(list(proto.graph.node)[::-1])
    del proto.graph.node[:]
    proto.graph.node.extend(nodes)
    check(loaded(proto, tmp_path), tmp_path, "a")


def test_functions_are_inlined(tmp_path: Path) -> None:
    proto = two_convs([node("Act", ["a"], ["b"], domain="own")])
    proto.opset_import.add(domain="own", version=1)
    body = [node("Sigmoid", ["p"], ["s"]), node("Mul", ["p", "s"], ["q"])]
    proto.functions.append(
        helper.make_function("own", "Act", ["p"], ["q"], body, [helper.make_opsetid("", 17)])
    )
    check(loaded(proto, tmp_path), tmp_path, "first")


@pytest.mark.parametrize("shape", [(1, 3, 8, 8), ("batch", 3, "height", "width")])
def test_shapes_that_are_computed_tell_the_dense_network(
    shape: tuple[int | str, ...], tmp_path: Path
) -> None:
    middle = [
        node("Shape", ["a"], ["shape"], name="shape"),
        node("Gather", ["shape", "places"], ["ends"]),
        node("Concat", ["ends", "minus"], ["target"], axis=0),
        node("Reshape", ["a", "target"], ["rows"], name="rows"),
        node("Gather", ["shape", "one"], ["width"]),
        node("Cast", ["width"], ["real"], to=TensorProto.FLOAT),
        node("Sqrt", ["real"], ["root"]),
        node("Div", ["rows", "root"], ["scaled"]),
        node("Reshape", ["scaled", "shape"], ["b"], name="back"),
    ]
    arrays = {"places": np.array([0, 1]), "minus": np.array([-1]), "one": np.array([1])}
    outputs = {"y": (shape[0], 4, *shape[2:])}
    proto = two_convs(middle, arrays=arrays, inputs={"x": shape}, outputs=outputs)
    check(loaded(proto, tmp_path), tmp_path, "first")


def test_branches_freeze_what_they_capture(tmp_path: Path) -> None:
    def branch(operator: str) -> onnx.GraphProto:
        inside = helper.make_tensor_value_info("inside", TensorProto.FLOAT, None)
        return helper.make_graph([node(operator, ["a"], ["inside"])], operator, [], [inside])

    choice = node(
        "If", ["yes"], ["b"], name="choice", then_branch=branch("Relu"), else_branch=branch("Neg")
    )
    network = loaded(two_convs([choice], arrays={"yes": np.array(True)}), tmp_path)
    assert network.graph.observed == {"b": (1, 8, 8, 8)}
    dependencies = analyze(network.graph)
    assert not dependencies.prunable
    reasons = {group.frozen_because for group in dependencies.groups}
    assert reasons == {"read by choice (If)", "network output y"}


def test_scans_freeze_what_they_read_by_name(tmp_path: Path) -> None:
    def values(*names: str) -> list[onnx.ValueInfoProto]:
        return [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names]

    steps = [node("Add", ["sum", "row"], ["next"]), node("Identity", ["next"], ["out"])]
    body = helper.make_graph(steps, "body", values("sum", "row"), values("next", "out"))
    scan = node("Scan", ["start", "a"], ["end", "b"], name="scan", body=body, num_scan_inputs=1,
                scan_input_axes=[1], scan_output_axes=[1])  # fmt: skip
    proto = two_convs([scan], arrays={"start": np.zeros((1, 8, 8), np.float32)})
    network = loaded(proto, tmp_path)
    assert network.graph.observed == {"end": (1, 8, 8), "b": (1, 8, 8, 8)}
    assert analyze(network.graph).groups[0].frozen_because == "read by scan (Scan)"


def test_operators_of_others_stay_as_they_are_where_the_file_says_their_shapes(
    tmp_path: Path,
) -> None:
    own = node("Swirl", ["r"], ["b"], name="swirl", domain="com.example", turns=2.5, by=["x", "y"])
    middle = [
        node("Conv", ["a", "w3"], ["m"], name="middle"),
        node("Conv", ["m", "w4"], ["r"], name="third"),
        own,
    ]
    arrays = {"w3": weights(6, 8, 1, 1), "w4": weights(8, 6, 1, 1)}
    proto = two_convs(middle, arrays=arrays, inputs={"x": ("batch", 3, 8, 8)})
    proto.opset_import.add(domain="com.example", version=3)
    shape = ("batch", 8, 8, 8)
    proto.graph.value_info.append(helper.make_tensor_value_info("b", TensorProto.FLOAT, shape))
    network = loaded(proto, tmp_path)
    assert network.graph.observed == {"b": (1, 8, 8, 8)}
    slim, found, dependencies = slimmed(network, seed=3)
    assert found.passed, found
    assert free(dependencies) == {"first", "middle"}
    reasons = {group.frozen_because for group in dependencies.groups}
    assert "read by swirl (com.example.Swirl)" in reasons
    slim.save(tmp_path / "slim.onnx")
    after = onnx.load_model(tmp_path / "slim.onnx")
    assert next(n for n in after.graph.node if n.name == "swirl") == own
    assert [(own.domain, own.version) for own in after.opset_import] == [
        ("", 17),
        ("com.example", 3),
    ]


def test_an_operator_of_others_of_no_known_shape_is_refused_by_name(tmp_path: Path) -> None:
    proto = two_convs([node("Swirl", ["a"], ["b"], name="swirl", domain="com.example")])
    proto.opset_import.add(domain="com.example", version=3)
    with pytest.raises(GraphError, match=r"node swirl is a com\.example\.Swirl.* does not run"):
        loaded(proto, tmp_path)


def test_sizes_of_some_axes_alone_are_no_channels(tmp_path: Path) -> None:
    middle = [node("Resize", ["a", "", "", "sizes"], ["b"], name="resize", axes=[-1, 2])]
    outputs = {"y": (1, 4, 12, 16)}
    proto = two_convs(middle, arrays={"sizes": np.array([16, 12])}, outputs=outputs, opset=18)
    check(loaded(proto, tmp_path), tmp_path, "first")


def test_numbers_of_a_file_of_their_own_are_read_as_they_are_needed(tmp_path: Path) -> None:
    proto = two_convs()
    network = loaded(proto, tmp_path, save_as_external_data=True, location="w", size_threshold=0)
    before = (tmp_path / "w").read_bytes()
    weight = network.parameters["w1"]
    assert torch.equal(weight, torch.from_numpy(weights(8, 3, 3, 3)))
    weight.zero_()
    assert (tmp_path / "w").read_bytes() == before


Change = Callable[[onnx.ModelProto], object]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p: setattr(p.opset_import[0], "version", 99), "opset 99"),
        (lambda p: p.graph.node[1].input.__setitem__(0, "nothing"), "reads nothing, which"),
        (lambda p: p.graph.initializer[0].dims.append(7), "'w1' cannot be read"),
        (lambda p: p.graph.initializer.pop(0), "reads w1, which nothing gives"),
        (lambda p: p.graph.node[0].input.__setitem__(0, "y"), "in a circle"),
        (lambda p: p.graph.ClearField("node"), "no nodes"),
        (lambda p: p.graph.input[0].type.Clear(), "input x is no tensor"),
        (lambda p: p.graph.node[2].input.__setitem__(1, "w1"), "reads (1, 8, 8, 8) with a kernel"),
        (lambda p: p.ClearField("opset_import"), "which version"),
    ],
)
def test_what_is_no_network_is_refused_in_a_line(
    change: Change, message: str, tmp_path: Path
) -> None:
    proto = two_convs()
    change(proto)
    (tmp_path / "net.onnx").write_bytes(proto.SerializeToString())
    with pytest.raises(GraphError, match=re.escape(message)) as caught:
        read(tmp_path / "net.onnx")
    assert str(caught.value).startswith(str(tmp_path / "net.onnx"))
    assert "\n" not in str(caught.value)


def test_what_is_no_onnx_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "net.onnx").write_bytes(b"\xff" * 100)
    with pytest.raises(GraphError, match="no ONNX file"):
        read(tmp_path / "net.onnx")


@pytest.mark.parametrize("location", ["../secret", "absent"])
def test_arrays_are_looked_for_beside_the_file_alone(location: str, tmp_path: Path) -> None:
    proto = two_convs()
    tensor = proto.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    (tmp_path / "net.onnx").write_bytes(proto.SerializeToString())
    with pytest.raises(GraphError, match=location):
        read(tmp_path / "net.onnx")


def test_a_part_that_nobody_wants(tmp_path: Path) -> None:
    middle = [node("Split", ["a", "sizes"], ["", "half"], name="split", axis=1),
              node("Concat", ["half", "a"], ["b"], axis=1)]  # fmt: skip
    arrays = {"w2": weights(4, 13, 1, 1), "sizes": np.array([3, 5])}
    network = loaded(two_convs(middle, arrays=arrays), tmp_path)
    check(network, tmp_path, "first")


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_large_arrays_are_held_once_and_written_as_they_were(
    dtype: type, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "LARGE", 40)
    proto = two_convs(dtype=helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))
    for tensor in proto.graph.initializer:
        array = numpy_helper.to_array(tensor).astype(dtype)
        tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
    network = loaded(proto, tmp_path)
    assert isinstance(network.document, OnnxDocument)
    held = {t.name: len(t.raw_data) for t in network.document.model.graph.initializer}
    assert held["w1"] == held["w2"] == 0 < held["c1"]
    assert saved(network, tmp_path) == onnx.load_model(tmp_path / "net.onnx")
    check(network, tmp_path, "first")
