"""What recovery without training gained: the heads before and after."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from yoloprune.darknet.spec import NetworkSpec
from yoloprune.darknet.state import State
from yoloprune.model.network import Network

CHUNK = 4
"""Images that are compared at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadErrors:
    """How far a network's head maps are from the dense one's, a number a head.

    Root of the sum of squared differences, relative to how much the dense map's channels vary about
    their means: 1 is as far as a constant map would be.
    """

    per_head: tuple[float, ...]


def head_errors(
    spec: NetworkSpec, state: State, slim_spec: NetworkSpec, slim_states: Sequence[State],
    images: Tensor,
) -> list[HeadErrors]:  # fmt: skip
    """Errors of each state of the slim network on images (B, C, H, W)."""
    with torch.inference_mode():
        dense = _maps(Network.from_state(spec, state), images)
        found = []
        for slim_state in slim_states:
            slim = _maps(Network.from_state(slim_spec, slim_state), images)
            errors = [_relative(a, b) for a, b in zip(slim, dense, strict=True)]
            found.append(HeadErrors(per_head=tuple(errors)))
    return found


def _maps(network: Network, images: Tensor) -> list[Tensor]:
    chunks = [network(images[first : first + CHUNK]) for first in range(0, len(images), CHUNK)]
    return [torch.cat(maps) for maps in zip(*chunks, strict=True)]


def _relative(slim: Tensor, dense: Tensor) -> float:
    error = (slim - dense).double().square().sum()
    variation = (dense - dense.mean(dim=(0, 2, 3), keepdim=True)).double().square().sum()
    return float((error / variation).sqrt()) if variation > 0 else float(error.sqrt())
