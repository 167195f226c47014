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


def test_arrays_of_several_precisions_are_computed_in_the_finest() -> None:
    """As a layer of a module reads places that its code works out in float64."""
    graph = GraphBuilder(opset=17)
    kernel, bias = graph.parameter("kernel", (2, 1)), graph.parameter("bias", (1,))
    places = graph.constant("places", [[0.1, 0.2]])
    y = graph.node("y", "Gemm", places, kernel, bias)
    built = graph.build({y: (1, 1)})
    exact = torch.tensor([[0.1, 0.2]], dtype=torch.float64)
    found = with_computed(
        built, {"kernel": torch.ones(2, 1), "bias": torch.ones(1), "places": exact}
    )
    assert found["y"].dtype == torch.float64
    torch.testing.assert_close(found["y"], exact.sum(1, keepdim=True) + 1, rtol=1e-15, atol=0)
