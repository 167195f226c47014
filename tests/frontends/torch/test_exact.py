"""Numbers in the code of a module, by torch in float64."""

import copy

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from yoloprune.execution.module import Network
from yoloprune.frontends.torch.exact import _whole, widened
from yoloprune.frontends.torch.export import exported
from yoloprune.frontends.torch.read import read


def test_a_float32_stands_for_the_shortest_number() -> None:
    values = (0.1, 2.5, 1e-12, 1e20, float("inf"), 0.0, -1 / 3, 0.7071067690849304)
    for value in values:
        single = float(np.float32(value))
        assert np.float32(_whole(single)) == np.float32(value)
        assert _whole(single) == (value if value != values[-1] else 0.70710677)
    assert _whole(3) == 3


class _Anchors(nn.Module):
    """Places that are worked out of the image's size, as a detector's, and sizes in its code."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.row = nn.Conv2d(3, 4, 1), nn.Linear(4, 4)
        self.register_buffer("mean", torch.rand(4))

    def forward(self, x: Tensor) -> Tensor:
        found = self.conv(x)
        height, width = found.shape[2:]
        y = torch.arange(height).type_as(found)
        places = (y[:, None].expand(height, width) + 0.5) / height
        sizes = torch.full_like(places, 0.05)
        places = torch.stack((places, sizes), -1).view(1, -1, 2)
        places = (places / (1 - places)).log().masked_fill(places > 0.9, float("inf"))
        rows = self.row(found.flatten(2).transpose(1, 2) - self.mean).clamp(0.3, 7.7)[:, None]
        rows = nn.functional.scaled_dot_product_attention(rows, rows, rows)[:, 0]
        return rows * 0.1 + places.sigmoid().repeat(1, 1, 2) * torch.tensor([0.1, 0.2, 0.3, 0.7])


def test_numbers_in_the_code_are_as_exact_as_the_module() -> None:
    torch.manual_seed(0)
    module, image = _Anchors().eval(), torch.rand(1, 3, 5, 6)
    network = read(module, image)
    assert {own.dtype for own in network.graph.parameters.values()} == {"float32"}
    assert {own.dtype for own in network.parameters.values()} == {torch.float32}
    assert {own.dtype for own in network.graph.inputs.values()} == {"float32"}
    assert {"mean", "conv.weight"} <= {own.tensor for own in network.document.origins.values()}
    for dtype, tolerance in ((torch.float64, 1e-14), (torch.float32, 1e-6)):
        wanted = copy.deepcopy(module).to(dtype)(image.to(dtype))
        (found,) = Network(network.graph, network.parameters, dtype=dtype)(image.to(dtype))
        assert found.dtype == dtype
        assert (found - wanted).abs().max() <= tolerance


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_dtypes_stay(dtype: torch.dtype) -> None:
    module = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU()).to(dtype)
    image = torch.rand(1, 3, 4, 4, dtype=dtype)
    model = exported(module, [image])
    assert widened(model) is model
    network = read(module, image)
    assert {own.dtype for own in network.parameters.values()} == {dtype}
    assert (
        network.graph.inputs.keys()
        and np.isin([own.dtype for own in network.graph.inputs.values()], str(dtype)[6:]).all()
    )
