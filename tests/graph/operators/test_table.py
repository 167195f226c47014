"""The rows together; each is judged beside those of its module."""

import pytest

from tests.architectures import ARCHITECTURES
from tests.graph.operators.referee import CASES
from yoloprune.errors import GraphError
from yoloprune.frontends.darknet.activations import ACTIVATIONS
from yoloprune.frontends.darknet.lower import lower
from yoloprune.frontends.darknet.zoo import NETWORKS
from yoloprune.graph.builder import GraphBuilder
from yoloprune.graph.graph import Node
from yoloprune.graph.operators.table import OPERATORS, operator_of


def test_every_row_has_a_case() -> None:
    assert CASES.keys() == OPERATORS.keys()


@pytest.mark.parametrize("name", NETWORKS | ARCHITECTURES)
def test_whatever_darknet_is_lowered_to_has_a_row(name: str) -> None:
    spec = (NETWORKS | ARCHITECTURES)[name](width=0.0625, size=(32, 64))
    assert {node.operator for node in lower(spec, decoded=True).nodes} <= OPERATORS.keys()


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_whatever_activations_are_lowered_to_has_a_row(name: str) -> None:
    graph = GraphBuilder(opset=15)
    y = ACTIVATIONS[name](graph, "y", graph.input("x", (1,)))
    assert {node.operator for node in graph.build({y: (1,)}).nodes} <= OPERATORS.keys()


def test_an_unknown_operator_is_refused_by_name() -> None:
    node = Node(name="n", operator="Det", inputs=("x",), outputs=("y",))
    with pytest.raises(GraphError, match="node n is a Det, an operator that is not known"):
        operator_of(node)
