from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from tests.execution.gates import gated
from yoloprune.execution.run import Run, array_like, freed, reads
from yoloprune.graph.builder import GraphBuilder
from yoloprune.graph.graph import Node


def test_values_live_until_their_last_reader() -> None:
    graph = gated()
    assert reads(graph)["x"] == 4
    run = Run(graph, lambda name: pytest.fail(name), {"x": torch.ones(3)}, keep=["y", "tanh"])
    alive = []
    for node in graph.nodes:
        run.step(node)
        alive.append({*run.values})
    assert alive == [
        {"x", "sigmoid"},
        {"x", "silu"},
        {"x", "silu", "softplus"},
        {"x", "silu", "tanh"},
        {"silu", "tanh", "mish"},
        {"tanh", "y"},
    ]


def test_what_nobody_reads_is_let_go_at_once() -> None:
    graph = GraphBuilder(opset=17)
    first, _ = graph.split("parts", graph.input("x", (4,)), 0, 2)
    built = graph.build({graph.node("y", "Relu", first): (2,)})
    left = reads(built)
    assert set(freed(built.nodes[0], left)) == {"x", "parts.1"}


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_everything_real_is_computed_in_the_dtype_of_the_inputs(dtype: torch.dtype) -> None:
    """Whatever the network converts it to."""
    graph = GraphBuilder(opset=17)
    half = graph.node("half", "Cast", graph.input("x", (2,)), to=10)
    whole = graph.node("whole", "Cast", half, to=7)
    y = graph.node("y", "Mul", half, graph.parameter("scale", (2,)))
    built = graph.build({y: (2,), whole: (2,)})
    x = torch.tensor([1 / 3, 2.5], dtype=dtype)
    arrays = {"scale": torch.tensor([3.0, 2.0], dtype=torch.float16)}
    run = Run(built, array_like(built, arrays, x), {"x": x}, keep=["y", "whole"])
    for node in built.nodes:
        run.step(node)
    assert torch.equal(run.values["y"], x * torch.tensor([3, 2], dtype=dtype))
    assert run.values["whole"].dtype == torch.int64


def test_what_a_node_gives_may_be_replaced() -> None:
    graph = gated()

    def change(
        node: Node, read: Sequence[Tensor | None], given: Sequence[Tensor]
    ) -> Sequence[Tensor]:
        assert len(read) == len(node.inputs)
        return [torch.zeros_like(own) for own in given] if node.name == "sigmoid" else given

    run = Run(graph, lambda name: pytest.fail(name), {"x": torch.ones(3)}, keep=["silu"])
    for node in graph.nodes:
        run.step(node, change)
    assert run.values["silu"].tolist() == [0, 0, 0]


def test_whole_numbers_are_left_as_they_are() -> None:
    graph = GraphBuilder(opset=17)
    shape = graph.constant("shape", [1, 2])
    built = graph.build({graph.node("y", "Reshape", graph.input("x", (2,)), shape): (1, 2)})
    array = array_like(built, {"w": torch.ones(1)}, torch.zeros(1, dtype=torch.float64))
    assert (array("w").dtype, array("shape").dtype) == (torch.float64, torch.int64)
