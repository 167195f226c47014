"""The graph itself: what it refuses, and that its digest tells graphs apart and nothing else."""

from dataclasses import replace

import numpy as np
import onnxruntime
import pytest

from tests.graph.pools import scaled_pool
from yoloprune.errors import GraphError
from yoloprune.frontends.onnx.build import onnx_model
from yoloprune.graph.graph import Node, Parameter, ValueType


def test_a_graph_made_by_hand_runs() -> None:
    model = onnx_model(scaled_pool(), {"factor": np.full((1, 1, 1, 1), 3, np.float32)})
    session = onnxruntime.InferenceSession(model.SerializeToString())
    x = np.arange(32, dtype=np.float32).reshape(2, 1, 4, 4)
    (z,) = session.run(None, {"x": x})
    assert z[0].tolist() == [[[16, 22], [40, 46]]]


def test_the_digest_is_the_same_everywhere() -> None:
    """A plan holds the digest of its graph: another value would disown the plans of today."""
    assert scaled_pool().digest() == scaled_pool().digest()
    assert (
        scaled_pool().digest() == "7e90b1ef88c843fbc5b033cde53b0bb6518e268bc1869b1c32d829c7458cc95d"
    )


def test_the_digest_sees_everything() -> None:
    graph = scaled_pool()
    first, *others = graph.nodes
    changed = {
        "opset": replace(graph, opset=16),
        "input": replace(graph, inputs={"x": ValueType(shape=(1, 1, 4, 4), dtype="float32")}),
        "output": replace(graph, outputs={"z": ValueType(shape=(1,), dtype="float32")}),
        "shape": replace(graph, parameters={"factor": Parameter(shape=(1,), dtype="float32")}),
        "dtype": replace(graph, parameters={"factor": Parameter(shape=(1,) * 4, dtype="float16")}),
        "constant": replace(graph, constants={"one": np.float32(2)}),
        "constant's type": replace(graph, constants={"one": np.float64(1)}),
        "attribute": scaled_pool(3),
        "name": replace(graph, nodes=(replace(first, name="other"), *others)),
        "operator": replace(graph, nodes=(replace(first, operator="AveragePool"), *others)),
    }
    digests = {name: other.digest() for name, other in changed.items()}
    assert len({graph.digest(), *digests.values()}) == len(changed) + 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"nodes": ()}, "nothing gives the graph's output z"),
        ({"parameters": {}}, "node y reads factor, which nothing before it gives"),
        ({"constants": {"one": np.float32(1), "pool": np.float32(1)}}, "'pool' is given twice"),
        ({"constants": {"one": np.float32(1), "": np.float32(1)}}, "a value has no name"),
    ],
)
def test_what_is_no_graph_is_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(GraphError, match=message):
        replace(scaled_pool(), **change)


def test_nodes_that_read_each_other_are_refused() -> None:
    nodes = [
        Node(name=a, operator="Relu", inputs=(b,), outputs=(a,))
        for a, b in (("p", "q"), ("q", "p"))
    ]
    with pytest.raises(GraphError, match="node p reads q, which nothing before it gives"):
        replace(scaled_pool(), nodes=(*nodes, *scaled_pool().nodes))
