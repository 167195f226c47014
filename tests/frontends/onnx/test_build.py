"""Graphs of no file as models: ONNX's own checker and parser read them."""

import numpy as np
import onnx
import pytest

from tests.graph.pools import scaled_pool
from yoloprune.errors import GraphError, UsageError
from yoloprune.frontends.onnx import build
from yoloprune.frontends.onnx.build import node_proto, onnx_model
from yoloprune.graph.builder import GraphBuilder
from yoloprune.graph.graph import Graph, Node

ARRAYS = {"factor": np.full((3,), 2, np.float32)}


def scaled() -> Graph:
    graph = GraphBuilder(opset=15)
    x = graph.node("scaled", "Mul", graph.input("x", ("n", 3)), graph.parameter("factor", (3,)))
    return graph.build({graph.node("y", "Softmax", x, axis=1): ("n", 3)})


def test_a_model_says_all_that_the_graph_does() -> None:
    made = onnx_model(scaled(), ARRAYS, description="what it is", metadata={"a": "b"})
    onnx.checker.check_model(made, full_check=True)
    assert [own.version for own in made.opset_import] == [15]
    assert made.doc_string == "what it is"
    assert {own.key: own.value for own in made.metadata_props} == {"a": "b"}
    assert [own.name for own in made.graph.input] == ["x"]
    assert [own.name for own in made.graph.initializer] == ["factor"]
    # Values in between have types, for tools that show them.
    assert [own.name for own in made.graph.value_info] == ["scaled"]
    again = onnx_model(scaled(), ARRAYS, description="what it is", metadata={"a": "b"})
    assert again.SerializeToString() == made.SerializeToString()


def test_a_node_has_its_attributes() -> None:
    node = Node(
        name="n", operator="Conv", inputs=("x", "", "b"), outputs=("y",),
        attributes={"pads": (1, 2), "group": 3, "auto_pad": "VALID", "alpha": 0.5},
    )  # fmt: skip
    proto = node_proto(node)
    assert (proto.op_type, list(proto.input)) == ("Conv", ["x", "", "b"])
    found = {own.name: onnx.helper.get_attribute_value(own) for own in proto.attribute}
    assert found == {"pads": [1, 2], "group": 3, "auto_pad": b"VALID", "alpha": 0.5}


def test_numbers_that_no_file_holds_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "LARGEST", 11)
    with pytest.raises(UsageError, match="more than 2 GB, which one ONNX file cannot hold"):
        onnx_model(scaled(), ARRAYS)
    with pytest.raises(GraphError, match="the arrays are not those of the graph: factor differ"):
        onnx_model(scaled(), {})


def test_arrays_of_another_graph_are_refused() -> None:
    factor = np.ones((1, 1, 1, 1), np.float32)
    for arrays in ({}, {"factor": factor[0]}, {"factor": factor.astype(float)}, {"other": factor}):
        with pytest.raises(GraphError, match="factor"):
            onnx_model(scaled_pool(), arrays)
