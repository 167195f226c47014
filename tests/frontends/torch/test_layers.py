import pytest
from torch import nn

from yoloprune.frontends.torch.layers import COUNTS, is_layer, is_torchs, layer_sizes


@pytest.mark.parametrize(
    "module",
    [
        nn.Conv2d(8, 12, 3, groups=4), nn.ConvTranspose1d(8, 12, 3, groups=2), nn.Linear(3, 5),
        nn.Embedding(7, 4), nn.GroupNorm(3, 6), nn.BatchNorm2d(5), nn.PReLU(4),
        nn.InstanceNorm1d(3, affine=True), nn.Conv3d(2, 4, 1, bias=False),
    ],
)  # fmt: skip
def test_layers_say_of_their_tensors_what_torch_does(module: nn.Module) -> None:
    """By what torch made them of."""
    shapes = {name: tuple(own.shape) for name, own in module.state_dict().items()}
    found = layer_sizes(module, shapes, getattr(module, "groups", 1))
    assert found
    assert found == {name: getattr(module, name) for name in found}
    assert is_layer(module) and is_torchs(module)


def test_what_is_not_told_is_not_said() -> None:
    for module in (nn.Conv2d(1, 1, 1), nn.Linear(1, 1), nn.Embedding(1, 1), nn.GroupNorm(1, 1),
                   nn.BatchNorm1d(1), nn.ReLU()):  # fmt: skip
        assert layer_sizes(module, {}, 1) == {}
    assert not is_layer(nn.ReLU()) and "out_channels" in COUNTS
    assert layer_sizes(nn.Linear(1, 1), {"weight": (2,)}, 1) == {}
