import pytest
import torch

from tests.execution.gates import gated
from tests.pruning.networks import every_contraction, random_parameters
from yoloprune.execution.fuse import folded, fused, read_once
from yoloprune.execution.module import Network
from yoloprune.graph.builder import GraphBuilder


def test_a_norm_that_something_else_reads_is_not_folded() -> None:
    graph = every_contraction(tapped=True)
    network = Network(graph, random_parameters(graph)).eval()
    fast, images = network.for_inference(), torch.rand(2, 4, 6, 6, dtype=torch.float64)
    assert [node.operator for node in fast.graph.nodes] == [n.operator for n in graph.nodes]
    for found, own in zip(fast(images), network(images), strict=True):
        torch.testing.assert_close(found, own)


@pytest.mark.parametrize(
    ("tapped", "operators"),
    [(False, ["Swish", "Mish", "Add"]), (True, ["Sigmoid", "Mul", "Mish", "Add"])],
)
def test_gates_are_taken_together_where_nobody_looks(tapped: bool, operators: list[str]) -> None:
    network = Network(gated(tapped=tapped), {}, dtype=torch.float64)
    assert [step.node.operator for step in network._fused] == operators
    x = torch.linspace(-9, 9, 50, dtype=torch.float64)
    y, *rest = network(x)
    expected = x * x.sigmoid() + x * torch.log1p(x.exp()).tanh()
    torch.testing.assert_close(y, expected, rtol=1e-12, atol=1e-15)
    assert len(rest) == tapped and all(torch.equal(each, x.sigmoid()) for each in rest)


def test_what_nodes_are_told_by_constants_they_have_as_attributes() -> None:
    graph = GraphBuilder(opset=17)
    x = graph.reshape("rows", graph.input("x", ("n", 6, 4)), (0, 24))
    y = graph.part("some", x, 1, 3, 9)
    reshape, part = fused(graph.build({y: ("n", 6)})).nodes
    assert reshape.attributes["shape"] == (0, 24)
    assert {name: part.attributes[name] for name in ("starts", "ends", "axes")} == {
        "starts": (3,), "ends": (9,), "axes": (1,)
    }  # fmt: skip
    assert [*filter(None, reshape.inputs)] == ["x"] and [*filter(None, part.inputs)] == ["rows"]


def test_a_norm_is_folded_by_its_formula() -> None:
    graph = GraphBuilder(opset=17)
    kernel = graph.parameter("kernel", (2, 1, 1, 1))
    norm = [graph.parameter(kind, (2,)) for kind in ("scale", "bias", "mean", "variance")]
    x = graph.node("conv", "Conv", graph.input("x", ("n", 1, 2, 2)), kernel)
    y = graph.node("y", "BatchNormalization", x, *norm, epsilon=1.0)
    whole = graph.build({y: ("n", 2, 2, 2)})
    numbers = {"scale": [4, 6], "bias": [1, 2], "mean": [3, 5], "variance": [3, 8]}
    arrays = {name: torch.tensor(row, dtype=torch.float64) for name, row in numbers.items()}
    arrays["kernel"] = torch.tensor([[[[5.0]]], [[[0.0]]]], dtype=torch.float64)
    after, left = folded(whole, arrays)
    (node,) = after.nodes
    assert (node.operator, node.outputs) == ("Conv", ("y",))
    # scale / sqrt(variance + 1) is 2; bias - mean * 2.
    assert left["kernel"].flatten().tolist() == [10, 0]
    assert left[node.inputs[2]].tolist() == [-5, -8]
    assert left.keys() == after.parameters.keys() == set(node.inputs[1:])


def test_outputs_and_what_two_nodes_read_are_not_read_once() -> None:
    assert read_once(gated()) == {"sigmoid", "softplus", "tanh", "silu", "mish"}
    assert read_once(gated(tapped=True)) == {"softplus", "tanh", "silu", "mish"}
