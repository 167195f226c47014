from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from tests.frontends.onnx.models import node, two_convs
from yoloprune.errors import GraphError
from yoloprune.frontends.onnx.lower import lower, opset_of


def test_all_arrays_are_constants_and_what_depends_on_them_alone_is_one() -> None:
    middle = [
        node("Constant", [], ["half"], value_float=0.5),
        node("Mul", ["half", "c1"], ["scaled"]),
        node("ConstantOfShape", ["size"], ["zeros"]),
        node("Add", ["a", "zeros"], ["b"], name="sum"),
    ]
    arrays = {"size": np.array([8, 8])}
    proto = two_convs(middle, arrays=arrays)
    proto.graph.output.append(helper.make_tensor_value_info("scaled", TensorProto.FLOAT, (8,)))
    graph = lower(proto, Path())
    assert [own.name for own in graph.nodes] == ["first", "sum", "second"]
    assert not graph.parameters
    assert graph.constants.keys() == {"w1", "c1", "w2", "zeros", "scaled"}
    c1 = graph.constants["c1"]
    assert np.array_equal(graph.constants["scaled"], c1 * np.float32(0.5))
    assert np.array_equal(graph.constants["zeros"], np.zeros((8, 8), np.float32))


def test_a_cast_to_the_type_of_another_value_is_a_cast() -> None:
    graph = lower(two_convs([node("CastLike", ["a", "c1"], ["b"], name="cast")]), Path())
    (cast,) = (own for own in graph.nodes if own.name == "cast")
    assert (cast.operator, cast.inputs, dict(cast.attributes)) == ("Cast", ("a",), {"to": 1})


def test_the_version_of_onnx_s_own_operators_counts() -> None:
    proto = two_convs(opset=15)
    proto.opset_import.insert(0, helper.make_opsetid("own", 3))
    assert opset_of(proto) == 15
    with pytest.raises(GraphError, match="does not say which version"):
        opset_of(onnx.ModelProto())


def test_what_is_not_understood_is_refused() -> None:
    proto = two_convs()
    proto.graph.sparse_initializer.add()
    with pytest.raises(GraphError, match="sparse arrays"):
        lower(proto, Path())
    proto = two_convs()
    del proto.graph.node[1].output[:]
    with pytest.raises(GraphError, match=r"the node relu \(Relu\) gives nothing"):
        lower(proto, Path())
