from pathlib import Path

import numpy as np
import onnx
import pytest

from tests.bombs import at_most
from tests.frontends.onnx.models import check, loaded, node, number, two_convs
from yoloprune.errors import GraphError


def test_sequences_of_parts_are_splits(tmp_path: Path) -> None:
    numbers = {"four": np.array(4), "zero": np.array(0), "one": np.array(1)}
    middle = [
        node("SplitToSequence", ["a", "four"], ["parts"], name="chunk", axis=1),
        node("SequenceAt", ["parts", "zero"], ["p"], name="left"),
        node("SequenceAt", ["parts", "one"], ["q"], name="right"),
        node("Concat", ["q", "p"], ["b"], axis=1),
    ]
    proto = onnx.shape_inference.infer_shapes(two_convs(middle, arrays=numbers))
    network = loaded(proto, tmp_path)
    assert [n.operator for n in network.graph.nodes][1:4] == ["Split", "Identity", "Identity"]
    check(network, tmp_path, "first")


def test_parts_of_what_a_network_gives_are_splits(tmp_path: Path) -> None:
    """Its shape is told with the outputs."""
    arrays = {"two": np.array(2), "zero": np.array(0)}
    proto = two_convs(arrays=arrays)
    proto.graph.node.append(node("SplitToSequence", ["y", "two"], ["parts"], axis=1))
    proto.graph.node.append(node("SequenceAt", ["parts", "zero"], ["part"]))
    proto.graph.output.append(onnx.helper.make_tensor_value_info("part", 1, None))
    proto = onnx.shape_inference.infer_shapes(proto)
    assert [n.operator for n in loaded(proto, tmp_path).graph.nodes][-2:] == ["Split", "Identity"]


def test_sequences_of_more_parts_than_anyone_wants_stay_sequences(tmp_path: Path) -> None:
    middle = [
        node("SplitToSequence", ["x", "one"], ["parts"], name="parts", axis=2),
        node("SequenceAt", ["parts", "one"], ["part"]),
        node("Add", ["a", "part"], ["b"]),
    ]
    proto = two_convs(middle, arrays={"one": number(1)})
    proto.graph.input[0].type.tensor_type.shape.dim[2].dim_value = 1 << 62
    with at_most(200), pytest.raises(GraphError, match="more than any network needs"):
        loaded(proto, tmp_path)
