"""How values follow from others, told by their axes."""

import numpy as np
import pytest

from yoloprune.graph.builder import GraphBuilder
from yoloprune.graph.graph import Graph
from yoloprune.graph.shapes import facts
from yoloprune.pruning.labels.labels import Chain
from yoloprune.pruning.labels.layout import chained


def moved(perm: tuple[int, ...], batch: int | str = "n") -> Graph:
    """Six channels as two rows of three, turned, and laid out again."""
    graph = GraphBuilder(opset=17)
    x = graph.input("x", (batch, 6, 4, 5))
    apart = graph.reshape("apart", x, (0, 2, 3, 4, 5))
    turned = graph.node("turned", "Transpose", apart, perm=perm)
    return graph.build({graph.reshape("y", turned, (0, 6, 4, 5)): (batch, 6, 4, 5)})


def chain_of(graph: Graph) -> Chain | None:
    path = ["x", "apart", "turned", "y"]
    known, larger = facts(graph, {"n": 1}), facts(graph, {"n": 2})
    return chained(path, graph.nodes, (1,), known, larger, {})


def test_a_shuffle_is_an_order_of_channels_and_nothing_else() -> None:
    chain = chain_of(moved((0, 2, 1, 3, 4)))
    assert chain is not None and chain.straight
    assert chain.places.reshape(-1).tolist() == [0, 3, 1, 4, 2, 5]
    assert (chain.root, chain.held, chain.first_alike) == ("x", (1,), True)
    # The number of images may be any; rows and columns stay beside one another.
    assert (chain.before, chain.runs, chain.front) == ((None, 6, 4, 5), (None, 20), 1)
    assert chain.order == (0, -1, 1)


@pytest.mark.parametrize("perm", [(0, 2, 1, 4, 3), (0, 1, 3, 2, 4)])
def test_what_turns_the_rest_too_is_not_told(perm: tuple[int, ...]) -> None:
    """Rows and columns, or channels and rows, change places."""
    assert chain_of(moved(perm)) is None


def test_channels_may_get_axes_of_their_own() -> None:
    graph = GraphBuilder(opset=17)
    y = graph.reshape("apart", graph.input("x", (1, 6, 4)), (1, 2, 3, 4))
    built = graph.build({y: (1, 2, 3, 4)})
    known = facts(built)
    chain = chained(["x", "apart"], built.nodes, (1,), known, known, {})
    assert chain is not None and not chain.straight
    assert np.array_equal(chain.places, np.arange(6).reshape(1, 2, 3, 1))
    assert (chain.after, chain.order) == ((1, 2, 3, 4), (0, -1, -1, 1))
