import torch
from torch import nn

from tests.pruning.networks import every_contraction, outputs_of, random_parameters
from yoloprune.graph.graph import Graph
from yoloprune.pruning.groups import analyze
from yoloprune.pruning.modules import Modules


def network() -> tuple[Graph, dict[str, torch.Tensor]]:
    graph = every_contraction()
    return graph, {name: own.float() for name, own in random_parameters(graph).items()}


def test_torch_s_modules_compute_what_the_graph_does() -> None:
    graph, parameters = network()
    modules = Modules(analyze(graph), parameters)
    images = torch.rand(2, 4, 6, 6, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        found = modules(images)
    for ours, theirs in zip(found, outputs_of((graph, parameters), images), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
    kinds = {name: type(module) for name, module in modules.named.items()}
    assert kinds["conv"] is nn.Conv2d and kinds["gemm"] is nn.Linear
    assert kinds["norm"] is nn.BatchNorm2d and "deconv" not in kinds


def test_their_numbers_come_back_under_the_graph_s_names() -> None:
    graph, parameters = network()
    state = dict(Modules(analyze(graph), parameters).state())
    assert {"conv.kernel", "gemm.kernel", "turned.kernel", "norm.mean"} <= state.keys()
    for name, tensor in state.items():
        assert torch.equal(tensor, parameters[name]), name
