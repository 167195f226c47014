import numpy as np
import pytest

from yoloprune.errors import GraphError, UntoldShapeError
from yoloprune.graph.graph import Attribute, Node
from yoloprune.graph.operators.operator import (
    at,
    axis_of,
    given,
    integer,
    integers,
    known_integers,
    number,
    present,
    text,
)


def node(*inputs: str, **attributes: Attribute) -> Node:
    return Node(name="n", operator="Slice", inputs=inputs, outputs=("y",), attributes=attributes)


def test_inputs_may_be_left_out_or_not() -> None:
    assert [at([1, None], place) for place in range(3)] == [1, None, None]
    assert [present(node("x", ""), place) for place in range(3)] == [True, False, False]
    assert given(node("x"), [3], 0) == 3
    for values in ([], [None]):
        with pytest.raises(GraphError, match=r"node n \(Slice\) lacks its input 0"):
            given(node("x"), values, 0)


def test_attributes_have_defaults() -> None:
    told = node(alpha=0.5, axis=2, pads=(1, 2), mode="linear")
    assert (number(told, "alpha", 1), integer(told, "axis", 0)) == (0.5, 2)
    assert (integers(told, "pads"), text(told, "mode", "nearest")) == ((1, 2), "linear")
    assert (number(node(), "alpha", 1), integer(node(), "axis", -1)) == (1, -1)
    assert (integers(node(), "pads", (0,)), text(node(), "mode", "nearest")) == ((0,), "nearest")


def test_axes_count_from_either_end() -> None:
    assert [axis_of(node(), axis, 3) for axis in (-3, -1, 0, 2)] == [0, 2, 0, 2]
    for axis in (-4, 3):
        with pytest.raises(GraphError, match=f"has axis {axis}, of 3"):
            axis_of(node(), axis, 3)


def test_shapes_may_depend_on_short_lists_of_known_numbers_alone() -> None:
    assert known_integers(node("x", "y"), [None, np.array([2, -1])], 1) == (2, -1)
    assert known_integers(node("x"), [np.array(4)], 0) == (4,)
    with pytest.raises(UntoldShapeError, match="values of y, which are known only when it runs"):
        known_integers(node("x", "y"), [None, None], 1)
    with pytest.raises(GraphError, match="lacks its input 2"):
        known_integers(node("x", "y"), [None, None], 2)
    for array in (np.zeros((1, 2)), np.zeros((1 << 12) + 1)):
        with pytest.raises(GraphError, match="not a short list of them"):
            known_integers(node("x"), [array], 0)
