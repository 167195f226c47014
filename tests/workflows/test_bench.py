"""Where modules are compared with their graphs."""

import pytest
import torch
from torch import Tensor, nn

from tests.modules import loaded
from yoloprune.errors import GraphError
from yoloprune.workflows.bench import bench
from yoloprune.workflows.modules import load_module, module_of
from yoloprune.workflows.prune import prune


def test_a_difference_is_told() -> None:
    module, _, network = loaded("plain")
    found = bench(network, module_of(network), module)
    assert found.module.scores.weight.dtype == torch.float64
    assert found.difference(found.module, network.graph, network.parameters) is None
    with torch.no_grad():
        found.module.scores.bias.add_(1)
    said = found.difference(found.module, network.graph, network.parameters)
    assert said is not None and said.startswith("outputs differ by ")
    found.module.scores = nn.Linear(3, 4)
    said = found.difference(found.module, network.graph, network.parameters)
    assert said is not None and "mat1 and mat2" in said


def test_a_module_that_gives_no_finite_numbers_is_refused() -> None:
    module = nn.Conv2d(3, 8, 1)
    nn.init.constant_(module.weight, float("nan"))
    with pytest.raises(GraphError, match="not finite: its weights are damaged"):
        load_module(module, torch.rand(1, 3, 4, 4))


class _Other(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return images * 2 if torch.compiler.is_compiling() else images


def test_what_computes_something_else_than_its_export_is_refused() -> None:
    with pytest.raises(GraphError, match=r"_Other: the module and the graph .* differ by"):
        load_module(_Other(), torch.rand(1, 3, 16, 16))


class _InPlace(nn.Module):
    """Changes what it is called with."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 2, 1)

    def forward(self, images: Tensor) -> Tensor:
        return self.last(self.first(images.mul_(2)).relu())


def test_a_module_that_changes_its_inputs_is_taken() -> None:
    images = torch.rand(1, 3, 4, 4)
    before, module = images.clone(), _InPlace()
    cut = prune(load_module(module, images), {"macs": 0.6}, multiple_of=1)
    assert torch.equal(images, before)
    assert cut.apply(module)(images).shape == (1, 2, 4, 4)
