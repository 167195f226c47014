from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.frontends.onnx.models import node, two_convs
from yoloprune.errors import GraphError
from yoloprune.frontends.onnx.protos import (
    array_of,
    attributes_of,
    captured,
    constant_of,
    files_beside,
    first_line,
    node_names,
    node_protos,
    operator_name,
    tensor_protos,
)


def with_branch() -> onnx.NodeProto:
    """A choice whose branch reads `a` and `w` from outside, and `inside` from within."""
    array = numpy_helper.from_array(np.ones(3, np.float32), "own")
    steps = [node("Mul", ["a", "own"], ["inside"]), node("Add", ["inside", "w"], ["out"])]
    branch = helper.make_graph(steps, "branch", [], [onnx.ValueInfoProto(name="out")], [array])
    return node("If", ["yes"], ["b"], name="choice", then_branch=branch, else_branch=branch)


def test_nodes_without_a_name_of_their_own_have_that_of_what_they_give() -> None:
    nodes = [node("Relu", ["a"], [out], name=name) for out, name in
             (("b", ""), ("c", "b"), ("d", "same"), ("e", "same"), ("f", "f"))]  # fmt: skip
    assert node_names(nodes) == ["b_", "b", "d", "e", "f"]
    assert [operator_name(node("Relu", [], [], domain=own)) for own in ("", "ai.onnx", "own")] == [
        "Relu", "Relu", "own.Relu"
    ]  # fmt: skip


def test_what_bodies_read_from_outside_is_captured() -> None:
    choice = with_branch()
    assert captured(choice) == ["a", "w"]
    proto = two_convs([choice])
    assert [own.op_type for own in node_protos(proto)].count("Mul") == 2
    assert [own.name for own in tensor_protos(proto)].count("own") == 2


def test_attributes_are_python_s_and_of_others_a_digest() -> None:
    told = node("N", [], [], i=3, f=0.5, s="a", ints=[1, 2], floats=[0.5], strings=["a", "b"],
                t=numpy_helper.from_array(np.ones(2)))  # fmt: skip
    found = attributes_of(told)
    digest = found.pop("t")
    assert found == {
        "i": 3, "f": 0.5, "s": "a", "ints": (1, 2), "floats": (0.5,), "strings": ("a", "b")
    }  # fmt: skip
    assert isinstance(digest, str) and len(digest) == 64


@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.int8, np.bool_, np.int64])
def test_numbers_of_a_tensor_are_numpy_s(dtype: type, tmp_path: Path) -> None:
    array = np.array([[0, 1, 1], [1, 0, 1]]).astype(dtype)
    found = array_of(numpy_helper.from_array(array, "w"), tmp_path)
    assert found.dtype == array.dtype and np.array_equal(found, array)


def test_tensors_that_are_damaged_are_refused_by_name(tmp_path: Path) -> None:
    short = TensorProto(name="w", data_type=1, dims=[3], raw_data=b"\0" * 8)
    with pytest.raises(GraphError, match="the array 'w' cannot be read"):
        array_of(short, tmp_path)
    with pytest.raises(GraphError, match=r"the array 'w' has the shape \(-1,\)"):
        array_of(TensorProto(name="w", data_type=1, dims=[-1]), tmp_path)
    apart = TensorProto(name="w", data_type=1, dims=[3], data_location=TensorProto.EXTERNAL)
    apart.external_data.add(key="location", value="w.bin")
    with pytest.raises(GraphError, match="the array 'w' cannot be read"):
        array_of(apart, tmp_path)
    proto = two_convs()
    proto.graph.initializer.append(apart)
    assert files_beside(proto, tmp_path) == (tmp_path / "w.bin",)


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ({"value_float": 0.5}, np.float32(0.5)),
        ({"value_int": 3}, np.int64(3)),
        ({"value_floats": [0.5, 1.5]}, np.float32([0.5, 1.5])),
        ({"value_ints": [1, 2]}, np.array([1, 2])),
        ({"value_string": "a"}, np.array("a")),
        ({"value_strings": ["a", "bc"]}, np.array(["a", "bc"])),
        ({"value": numpy_helper.from_array(np.int8([1]))}, np.int8([1])),
    ],
)
def test_constants_in_all_their_forms(told: dict[str, object], expected: np.ndarray) -> None:
    found = constant_of(node("Constant", [], ["c"], **told), Path())
    assert found.dtype == expected.dtype and found.shape == expected.shape
    assert np.array_equal(found, expected)


def test_a_constant_of_nothing_is_refused() -> None:
    with pytest.raises(GraphError, match="the Constant c holds nothing that is understood"):
        constant_of(node("Constant", [], ["c"]), Path())
    assert first_line(ValueError(" a\nb")) == "a"
    assert first_line(ValueError("")) == "ValueError"
