"""Sizes that modules keep, as they become; modules with several are in workflows/test_trial.py."""

from typing import Any

import pytest
from torch import nn

from yoloprune.frontends.torch.sizes import Changes, guessed, sizes_of
from yoloprune.frontends.torch.surgery import Size, TensorCut
from yoloprune.graph.builder import GraphBuilder
from yoloprune.graph.edits import Edits
from yoloprune.graph.graph import Graph


def graph(channels: int, height: int = 4) -> Graph:
    built = GraphBuilder(opset=17)
    x = built.node("conv", "Conv", built.input("images", (1, 3, height, 4)),
                   built.parameter("weight", (channels, 3, 1, 1)))  # fmt: skip
    built.node("view", "Relu", x)
    return built.build({"view": (1, channels, height, 4)})


class _Keeps(nn.Module):
    def __init__(self, **sizes: Any) -> None:
        super().__init__()
        vars(self).update(sizes)


def sizes(module: nn.Module, tensors: dict[str, TensorCut], height: int = 4) -> dict[str, Size]:
    edits = Edits(arrays={}, constants={}, attributes={})
    changes = Changes(graph(8, height), graph(6, height), edits, {}, ())
    return sizes_of(module, changes, {}, tensors).get("", {})


def cut(before: tuple[int, ...], *kept: int) -> TensorCut:
    return TensorCut(before=before, blocks=({0: kept},))


def test_attributes_that_held_what_became_another_number_become_it() -> None:
    module = _Keeps(c=8, both=[8, 3], half=4, on=True, name="8", one=1)
    assert sizes(module, {}) == {"c": 6, "both": (6, 3)}
    # A height of eight, too, is no other number of channels.
    assert sizes(_Keeps(c=8), {}, height=8) == {"c": 6}
    assert sizes(nn.Upsample(size=8), {}, height=8) == {}


def test_what_only_a_number_says_to_be_a_size_may_stay() -> None:
    module = nn.Sequential(_Keeps(c=8, d=8, out_channels=8, name="8"), nn.Conv2d(8, 8, 1))
    assert guessed(module) == {("0", "c"), ("0", "d"), ("0", "out_channels")}
    edits = Edits(arrays={}, constants={}, attributes={})
    changes = Changes(graph(8), graph(6), edits, {"conv": "0", "view": "0"}, ())
    found = sizes_of(module, changes, {}, {}, {("0", "c"), ("0", "out_channels")})
    assert found == {"0": {"d": 6}}


@pytest.mark.parametrize(
    ("module", "wanted"),
    [
        (nn.Conv2d(3, 8, 1), {"out_channels": 6}),
        (nn.ConvTranspose2d(8, 3, 1), {"in_channels": 6}),
        (nn.Linear(3, 8), {"out_features": 6}),
        (nn.BatchNorm2d(8), {"num_features": 6}),
        (nn.PReLU(8), {"num_parameters": 6}),
        (nn.GroupNorm(4, 8), {"num_channels": 6, "num_groups": 3}),
    ],
)
def test_layers_of_torchs_own_say_what_their_tensors_do(
    module: nn.Module, wanted: dict[str, int]
) -> None:
    tensors = {
        name: cut(tuple(own.shape), 0, 1, 2, 4, 5, 7)
        for name, own in (*module.named_parameters(), *module.named_buffers())
        if own.dim() and len(own) == 8
    }
    assert sizes(module, tensors) == wanted
    assert sizes(module, {}) == {}


def test_layers_of_one_kernel_say_the_same() -> None:
    module = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8))
    module[1].weight = module[0].weight
    changes = Changes(graph(8), graph(8), Edits(arrays={}, constants={}, attributes={}), {}, ())
    tensors = {"0.weight": TensorCut(before=(8, 8), blocks=({0: (0, 2), 1: (1, 3, 5)},))}
    said = {"out_features": 2, "in_features": 3}
    assert sizes_of(module, changes, {}, tensors) == {"0": said, "1": said}
