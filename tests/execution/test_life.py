"""A network that came from no file: analyzed, pruned, proven, re-fitted and trained for a step."""

import torch

from tests.pruning.networks import random_parameters
from yoloprune.execution.module import Network
from yoloprune.graph.builder import GraphBuilder
from yoloprune.graph.cost import cost
from yoloprune.graph.graph import Graph
from yoloprune.graph.shapes import facts
from yoloprune.pruning.budget import Budget
from yoloprune.pruning.groups import analyze
from yoloprune.pruning.prune import prune
from yoloprune.pruning.recover.network import recover


def residual() -> Graph:
    """Two convolutions, a residual connection around a depthwise one, and a classifier."""
    graph = GraphBuilder(opset=17, dtype="float64")

    def conv(name: str, x: str, filters: int, channels: int, side: int, group: int = 1) -> str:
        kernel = graph.parameter(f"{name}.kernel", (filters, channels // group, side, side))
        pads = (side // 2,) * 4
        x = graph.node(f"{name}.conv", "Conv", x, kernel, pads=pads, group=group)
        kinds = ("scale", "bias", "mean", "variance")
        norm = [graph.parameter(f"{name}.{kind}", (filters,)) for kind in kinds]
        x = graph.node(f"{name}.norm", "BatchNormalization", x, *norm)
        return graph.node(name, "Relu", x)

    x = conv("first", graph.input("images", ("batch", 3, 12, 12)), 16, 3, 3)
    x = conv("second", x, 24, 16, 1)
    x = graph.node("sum", "Add", x, conv("depthwise", x, 24, 24, 3, group=24))
    x = graph.node("flat", "Flatten", graph.node("pool", "GlobalAveragePool", x))
    last = graph.parameter("last.kernel", (5, 24)), graph.parameter("last.bias", (5,))
    return graph.build({graph.node("logits", "Gemm", x, *last, transB=1): ("batch", 5)})


def test_a_graph_by_hand_lives_a_whole_life() -> None:
    graph = residual()
    parameters = random_parameters(graph)
    generator = torch.Generator().manual_seed(1)
    images = torch.rand(32, 3, 12, 12, dtype=torch.float64, generator=generator)
    assert [(len(group.producers), group.size) for group in analyze(graph).prunable] == [
        (1, 16),
        (2, 24),
    ]

    pruned = prune(graph, parameters, budget=Budget(limits={"macs": 0.6}))
    assert pruned.proof.exactness.passed and pruned.proof.exactness.relative_error <= 1e-12
    macs = [cost(each, facts(each).shapes).macs for each in (pruned.graph, graph)]
    assert 0.3 < macs[0] / macs[1] <= 0.6

    dense = Network(graph, parameters)
    with torch.no_grad():
        (wanted,) = dense(images)

    def error(network: Network) -> torch.Tensor:
        return (network(images)[0] - wanted).square().mean()

    recovered = recover(
        pruned.dependencies, parameters, pruned.plan, (pruned.graph, pruned.parameters), images
    )
    cut, fitted = (
        Network(pruned.graph, each) for each in (pruned.parameters, recovered.parameters)
    )
    assert error(fitted) < 0.5 * error(cut)

    fitted.train()
    optimizer = torch.optim.Adam(fitted.parameters(), lr=1e-3)
    losses = []
    for _ in range(2):
        optimizer.zero_grad()
        losses.append(error(fitted))
        losses[-1].backward()
        optimizer.step()
    assert losses[1] < losses[0]
    assert fitted.state().keys() == pruned.graph.parameters.keys()
