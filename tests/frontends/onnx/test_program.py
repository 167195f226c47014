"""What runs in a process of its own, here run in this one."""

import numpy as np
import onnx
from onnx import helper, numpy_helper

from tests.frontends.onnx.models import node, two_convs
from yoloprune.frontends.onnx.program import convert, observe


def test_shapes_of_all_values_are_told_and_those_of_sequences_are_not() -> None:
    middle = [
        node("SplitToSequence", ["a", "four"], ["parts"], axis=1),
        node("SequenceAt", ["parts", "one"], ["part"]),
        node("Concat", ["part", "part"], ["b"], axis=1),
    ]
    proto = two_convs(middle, arrays={"four": np.array(4), "one": np.array(1)})
    found = observe(proto.SerializeToString(), ".", [{"x": ((1, 3, 8, 8), "float32")}])
    assert found is not None
    number, shapes = found
    assert number == 0
    assert shapes == {
        "a": [1, 8, 8, 8], "part": [1, 4, 8, 8], "b": [1, 8, 8, 8], "y": [1, 4, 8, 8]
    }  # fmt: skip
    assert observe(proto.SerializeToString(), ".", [{"x": ((1, 4, 8, 8), "float32")}]) is None


def test_functions_are_written_out_and_operators_are_those_of_the_opset() -> None:
    proto = two_convs([node("Twice", ["a"], ["b"], domain="own")], opset=9)
    proto.opset_import.add(domain="own", version=1)
    body = [node("Relu", ["p"], ["q"]), node("Relu", ["q"], ["r"])]
    opset = [helper.make_opsetid("", 9)]
    proto.functions.append(helper.make_function("own", "Twice", ["p"], ["r"], body, opset))
    after = onnx.ModelProto.FromString(convert(proto.SerializeToString(), 11))
    assert [own.op_type for own in after.graph.node] == ["Conv", "Relu", "Relu", "Conv"]
    assert {entry.domain: entry.version for entry in after.opset_import}[""] == 11
    for before, own in zip(proto.graph.initializer, after.graph.initializer, strict=True):
        assert np.array_equal(numpy_helper.to_array(before), numpy_helper.to_array(own))
