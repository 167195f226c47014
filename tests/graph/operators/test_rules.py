import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from yoloprune.errors import GraphError
from yoloprune.graph.graph import Node
from yoloprune.graph.operators.rules import as_first, broadcast, broadcasting, per_channel

NODE = Node(name="n", operator="Add", inputs=("a", "b"), outputs=("y", "z"))
SHAPES = st.lists(st.lists(st.integers(1, 3), max_size=4).map(tuple), min_size=1, max_size=3)


@given(SHAPES)
def test_shapes_are_broadcast_as_numpy_does(shapes: list[tuple[int, ...]]) -> None:
    try:
        expected = np.broadcast_shapes(*shapes)
    except ValueError:
        with pytest.raises(GraphError, match=r"node n \(Add\) cannot broadcast"):
            broadcast(NODE, shapes)
    else:
        assert broadcast(NODE, shapes) == expected
        assert broadcasting(NODE, [None, *shapes], [], 17) == (expected,)


def test_what_reads_nothing_has_no_shape() -> None:
    with pytest.raises(GraphError, match="reads nothing"):
        broadcast(NODE, [])


def test_outputs_are_as_the_first_input_or_a_number_a_channel() -> None:
    assert as_first(NODE, [(2, 3), (1,)], [], 17) == ((2, 3), (2, 3))
    assert per_channel(NODE, [(2, 3, 4), (3,), None], [], 17) == ((2, 3, 4), (3,))
    with pytest.raises(GraphError, match=r"reads \(2,\) where 3 numbers in a row are needed"):
        per_channel(NODE, [(2, 3, 4), (2,)], [], 17)
