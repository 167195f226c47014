"""What recovery without training gained: the heads before and after."""

from collections.abc import Sequence

import torch
from torch import Tensor

from yoloprune.darknet.spec import NetworkSpec
from yoloprune.darknet.state import State
from yoloprune.model.network import Network

CHUNK = 4
"""Images that are compared at once."""


def head_errors(
    spec: NetworkSpec, state: State, slim_spec: NetworkSpec, slim_states: Sequence[State],
    images: Tensor,
) -> list[list[float]]:  # fmt: skip
    """How far the head maps of each state of the slim network are from the dense ones, by head.

    On images (B, C, H, W): the root of the sum of squared differences, relative to how much the
    dense map's channels vary about their means: 1 is as far as a constant map would be.
    """
    with torch.inference_mode():
        dense = _maps(Network.from_state(spec, state), images)
        found = []
        for slim_state in slim_states:
            slim = _maps(Network.from_state(slim_spec, slim_state), images)
            found.append([_relative(a, b) for a, b in zip(slim, dense, strict=True)])
    return found


def _maps(network: Network, images: Tensor) -> list[Tensor]:
    chunks = [network(chunk) for chunk in torch.split(images, CHUNK)]
    return [torch.cat(maps) for maps in zip(*chunks, strict=True)]


def _relative(slim: Tensor, dense: Tensor) -> float:
    error = (slim - dense).double().square().sum()
    variation = (dense - dense.mean(dim=(0, 2, 3), keepdim=True)).double().square().sum()
    return float((error / variation).sqrt()) if variation > 0 else float(error.sqrt())
