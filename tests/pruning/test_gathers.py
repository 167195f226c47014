"""A chain of moves as one gather, run by ONNX's reference beside the moves themselves."""

from dataclasses import replace

import numpy as np
from onnx.reference import ReferenceEvaluator

from yoloprune.frontends.onnx.build import onnx_model
from yoloprune.graph.builder import GraphBuilder
from yoloprune.graph.graph import Graph
from yoloprune.pruning.gathers import gathered
from yoloprune.pruning.labels.label import label
from yoloprune.pruning.labels.labels import Chain

SHUFFLE = [0, 3, 1, 4, 2, 5]


def shuffled() -> tuple[Graph, Chain]:
    """Six channels, the two halves of which take turns."""
    graph = GraphBuilder(opset=17)
    x = graph.node("x", "Conv", graph.input("images", (1, 3, 2, 2)),
                   graph.parameter("kernel", (6, 3, 1, 1)))  # fmt: skip
    apart = graph.reshape("apart", x, (1, 2, 3, 2, 2))
    turned = graph.node("turned", "Transpose", apart, perm=(0, 2, 1, 3, 4))
    y = graph.reshape("y", turned, (1, 6, 2, 2))
    last = graph.node("last", "Conv", y, graph.parameter("last.kernel", (1, 6, 1, 1)))
    built = graph.build({last: (1, 1, 2, 2)})
    return built, label(built).chains["y"]


def test_what_is_left_of_a_shuffle_is_one_gather_of_what_is_left() -> None:
    _, chain = shuffled()
    assert (chain.root, chain.straight) == ("x", True)
    assert chain.places.reshape(-1).tolist() == SHUFFLE
    left = np.array([0, 1, 3, 5])
    places = np.array([n for n in SHUFFLE if n in left]).reshape(1, 4, 1, 1)
    nodes, constants = gathered("y", chain, left, places, lambda name: name)
    (node,) = nodes
    assert (node.operator, node.inputs[0], node.outputs) == ("Gather", "x", ("y",))
    own = GraphBuilder(opset=17)
    built = own.build({own.input("x", (1, 4, 2, 2)): (1, 4, 2, 2)})
    built = replace(built, nodes=nodes, constants=constants, outputs={"y": built.outputs["x"]})
    x = np.arange(16, dtype=np.float32).reshape(1, 4, 2, 2)
    (y,) = ReferenceEvaluator(onnx_model(built, {})).run(None, {"x": x})
    assert y[0, :, 0, 0].tolist() == [x[0, list(left).index(n), 0, 0] for n in (0, 3, 1, 5)]


def test_what_stays_in_order_is_the_root_itself() -> None:
    _, chain = shuffled()
    places = np.array([0, 1]).reshape(1, 2, 1, 1)
    ((node,), constants) = gathered("y", chain, np.array([0, 1]), places, lambda name: name)
    assert (node.operator, node.inputs, node.outputs, constants) == ("Identity", ("x",), ("y",), {})
