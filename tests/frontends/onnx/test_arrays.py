from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from tests.frontends.onnx.models import check, copied, loaded, node, two_convs, weights
from yoloprune.frontends.onnx.arrays import WEIGHTS, with_parameters
from yoloprune.graph.builder import GraphBuilder
from yoloprune.graph.operators.table import OPERATORS


def test_weights_that_are_constant_nodes(tmp_path: Path) -> None:
    proto = two_convs()
    nodes = [node("Constant", [], [t.name], value=t) for t in proto.graph.initializer]
    nodes += copied(list(proto.graph.node))
    del proto.graph.initializer[:], proto.graph.node[:]
    proto.graph.node.extend(nodes)
    after = check(loaded(proto, tmp_path), tmp_path, "first")
    assert {tensor.name for tensor in after.graph.initializer} == {"w1", "c1", "w2"}


def test_weights_behind_identity_that_others_share(tmp_path: Path) -> None:
    proto = two_convs()
    proto.graph.node.insert(0, node("Identity", ["shared"], ["c1"], name="same"))
    proto.graph.node.append(node("Conv", ["x", "w3", "shared"], ["z"], name="other"))
    proto.graph.initializer[1].name = "shared"
    proto.graph.initializer.append(numpy_helper.from_array(weights(8, 3, 1, 1), "w3"))
    proto.graph.output.append(helper.make_tensor_value_info("z", TensorProto.FLOAT, (1, 8, 8, 8)))
    check(loaded(proto, tmp_path), tmp_path, "first")


def test_what_was_trained_is_told_from_sizes_tables_and_limits() -> None:
    graph = GraphBuilder(opset=17)
    x = graph.input("x", (1, 2, 4, 4))
    kernel = graph.constant("kernel", np.ones((3, 2, 1, 1)))
    x = graph.node("conv", "Conv", x, kernel)
    x = graph.node("biased", "Add", x, graph.constant("bias", np.ones((3, 1, 1))))
    x = graph.node("gridded", "Add", x, graph.constant("grid", np.ones((1, 3, 4, 4))))
    x = graph.node("scaled", "Mul", x, graph.constant("scalar", 2.0))
    x = graph.node("clipped", "Clip", x, graph.constant("low", 0.0), graph.constant("high", 6.0))
    y = graph.reshape("rows", x, (1, 48))
    built = with_parameters(graph.build({y: (1, 48)}))
    assert built.parameters.keys() == {"kernel", "bias"}
    assert built.parameters["kernel"].shape == (3, 2, 1, 1)
    assert built.constants.keys() == {"grid", "scalar", "low", "high", "rows.shape"}
    assert not built.constants["grid"].flags.writeable


def test_every_operator_that_is_said_to_read_weights_is_known() -> None:
    assert WEIGHTS.keys() <= OPERATORS.keys()
