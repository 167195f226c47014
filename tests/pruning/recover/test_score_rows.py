"""Which filters make scores: as the heads' layouts say, whatever lies behind them."""

import torch

from tests.pruning.recover.detectors import NOISE, detector
from yoloprune.frontends.darknet.document import model
from yoloprune.frontends.darknet.initialization import random_state
from yoloprune.frontends.darknet.zoo import yolov3_tiny
from yoloprune.graph.builder import GraphBuilder
from yoloprune.pruning.recover.score_rows import Scored, score_rows
from yoloprune.workflows.confidence import scored_outputs

SPEC = yolov3_tiny(classes=2, width=0.125, size=(32, 32))


def test_the_rows_of_a_darknet_head_are_those_of_its_layout() -> None:
    dense = model(SPEC, random_state(SPEC, seed=1), title="dense")
    images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    asked = scored_outputs(dense, None)
    objectness, classes = score_rows((dense.graph, dense.parameters), images, asked)
    assert [rows.filters for rows in objectness] == [(4, 11, 18)] * 2
    assert [rows.filters for rows in classes] == [(5, 6, 12, 13, 19, 20)] * 2
    assert not any(rows.shares for rows in classes)
    assert [rows.layer.node.operator for rows in objectness] == ["Conv", "Conv"]


def test_moves_and_activations_lie_between_and_shares_are_seen() -> None:
    graph, parameters, asked = detector(shares=True)
    objectness, classes = score_rows((graph, parameters), NOISE, asked)
    assert [(rows.layer.name, rows.filters) for rows in objectness] == [("sure", (0,))]
    assert [(rows.layer.name, rows.filters) for rows in classes] == [("kind", (0, 1, 2))]
    assert [rows.shares for rows in (*objectness, *classes)] == [False, True]
    assert classes[0].value == "kind_norm"
    graph, parameters, asked = detector(shares=False)
    assert not score_rows((graph, parameters), NOISE, asked)[1][0].shares


def test_what_cannot_be_told_apart_is_left_out() -> None:
    g = GraphBuilder(opset=17)
    x = g.input("x", ("batch", 4, 6, 6))
    both = [
        g.node(name, "Conv", x, g.parameter(f"{name}.kernel", (size, 4, 1, 1)), *more)
        for name, size, more in (
            ("a", 1, [g.parameter("a.bias", (1,))]),
            ("b", 3, [g.parameter("b.bias", (3,))]),
            ("c", 3, []),
        )
    ]
    product = g.node("product", "Mul", both[0], both[1])
    out = g.node("out", "Concat", product, both[2], both[0], axis=1)
    graph = g.build({out: ("batch", 7, 6, 6)})
    parameters = {n: torch.ones(p.shape) for n, p in graph.parameters.items()}
    asked = {"out": Scored(axis=1, objectness=(6,), classes=(0, 1, 2, 3, 4, 5))}
    objectness, classes = score_rows((graph, parameters), NOISE[:, :4, :6, :6], asked)
    # `a` is objectness and a factor of classes, `c` has no constant.
    assert objectness == [] and [rows.layer.name for rows in classes] == ["b"]
    assert score_rows((graph, parameters), NOISE[:, :4, :6, :6], {}) == ([], [])


def test_a_layers_own_arrays_stay_as_they_are() -> None:
    graph, parameters, asked = detector(shares=True)
    score_rows((graph, parameters), NOISE, asked)
    assert not any(array.requires_grad for array in parameters.values())
