import numpy as np
import pytest

from yoloprune.graph.builder import GraphBuilder
from yoloprune.graph.graph import Node
from yoloprune.graph.shapes import facts
from yoloprune.pruning.labels.ids import connect
from yoloprune.pruning.labels.walk import Walk, title

NODE = Node(name="sum", operator="Add", inputs=("x", "w"), outputs=("y",))


@pytest.fixture
def walk() -> Walk:
    graph = GraphBuilder(opset=17)
    x, w = graph.input("x", (1, 4)), graph.parameter("w", (4,))
    built = graph.build({graph.node("sum", "Add", x, graph.node("neg", "Neg", w)): (1, 4)})
    return Walk(graph=built, facts=facts(built))


def test_ids_are_born_once(walk: Walk) -> None:
    assert walk.born(2).tolist() == [1, 2]
    assert walk.born(3).tolist() == [3, 4, 5]
    assert walk.count == 6


def test_channels_that_meet_become_one_and_what_meets_none_stays(walk: Walk) -> None:
    a, b = walk.born(3), walk.born(3)
    b[1] = 0
    walk.unite(a, b, NODE)
    assert connect(walk.count, walk.unions)[[1, 2, 3, 4, 6]].tolist() == [1, 2, 3, 1, 3]
    ((stays, reason),) = walk.frozen
    assert (stays.tolist(), reason) == ([2], "meets what has no channels in sum (Add)")
    assert title(NODE) == "sum (Add)"


def test_what_differs_along_an_axis_becomes_one(walk: Walk) -> None:
    ids = walk.born(6).reshape(2, 3)
    assert walk.flat(ids, 0, NODE).tolist() == [[1, 2, 3]]
    assert connect(walk.count, walk.unions).tolist() == [0, 1, 2, 3, 1, 2, 3]
    assert walk.along(ids, 0, 2, NODE).tolist() == [1, 4]
    assert connect(walk.count, walk.unions).tolist() == [0] + [1] * 6
    assert walk.along(np.array([[7]]), 1, 4, NODE).tolist() == [7] * 4


def test_arrays_are_cut_themselves_or_where_they_come_from(walk: Walk) -> None:
    ids = walk.born(4)
    neg, own = walk.graph.nodes
    walk.cut_with(neg, 0, {0: ids})
    walk.cut_with(own, 1, {0: ids})
    walk.cut_with(own, 0, {1: np.zeros(4, np.int64)})
    (vector,) = walk.vectors
    assert (vector.node, vector.input, vector.name) == ("neg", 0, "w")
    assert list(walk.wanted) == [("sum", 1)]
    assert walk.is_array("w") and not walk.is_array("neg")
