import torch

from yoloprune.graph.arrays import with_computed
from yoloprune.graph.builder import GraphBuilder


def test_what_depends_on_arrays_alone_is_computed_and_nothing_else() -> None:
    graph = GraphBuilder(opset=17)
    a, b = graph.parameter("a", (2,)), graph.constant("b", [2.0, 3.0])
    scaled = graph.node("scaled", "Mul", a, b)
    turned = graph.node("turned", "Neg", scaled)
    odd = graph.node("odd", "Mystery", scaled)
    y = graph.node("y", "Add", graph.input("x", (2,)), turned)
    built = graph.build({y: (2,), odd: (2,)})
    arrays = {"a": torch.tensor([5.0, 7]), "b": torch.tensor([2.0, 3])}
    found = with_computed(built, arrays)
    assert found.keys() == {"a", "b", "scaled", "turned"}
    assert found["turned"].tolist() == [-10, -21]
    assert arrays.keys() == {"a", "b"}
