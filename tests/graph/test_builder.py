import numpy as np
import pytest

from yoloprune.errors import GraphError
from yoloprune.graph.builder import GraphBuilder


def test_a_name_is_given_once() -> None:
    graph = GraphBuilder(opset=15)
    graph.constant("one", 1.0)
    with pytest.raises(GraphError, match="'one' is given twice"):
        graph.constant("one", 2.0)


def test_numbers_have_the_graph_s_dtype_unless_they_are_whole() -> None:
    graph = GraphBuilder(opset=15, dtype="float64")
    y = graph.node("y", "Add", graph.input("x", (2,)), graph.constant("half", [0.5, 1]))
    graph.constant("sizes", [1, 2])
    graph.constant("short", [1, 2], dtype="int32")
    built = graph.build({y: (2,)})
    dtypes = {name: str(array.dtype) for name, array in built.constants.items()}
    assert dtypes == {"half": "float64", "sizes": "int64", "short": "int32"}
    assert built.inputs["x"].dtype == built.outputs["y"].dtype == "float64"
    with pytest.raises(ValueError, match="read-only"):
        built.constants["half"][0] = 1


def test_shorthands_are_nodes_with_constants() -> None:
    graph = GraphBuilder(opset=15)
    x = graph.reshape("rows", graph.input("x", (2, 6)), (0, 3, 2))
    first, second = graph.split("halves", x, 2, 2)
    y = graph.part("some", graph.node("sum", "Add", first, second), 1, 0, 2)
    graph.in_blocks(y, 2)
    built = graph.build({y: (2, 2, 1)})
    assert [node.operator for node in built.nodes] == ["Reshape", "Split", "Add", "Slice"]
    assert built.nodes[1].outputs == ("halves.0", "halves.1")
    assert built.nodes[1].attributes == {"axis": 2}
    assert {name: array.tolist() for name, array in built.constants.items()} == {
        "rows.shape": [0, 3, 2], "some.starts": [0], "some.ends": [2], "some.axes": [1]
    }  # fmt: skip
    assert built.blocks == {y: 2}
    assert np.array_equal(built.constants["some.axes"], [1])
