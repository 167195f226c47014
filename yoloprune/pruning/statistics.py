"""What a convolution reads and should give, gathered as second moments in bounded memory.

Legend: B images of a chunk, P positions an image, N samples, g convolution groups, C input and F
output channels, k the window's side, d = C / g k^2 + 1: the window's values and a constant 1.

u (g, N, d) are patches of an input, y (g, N, F / g) the outputs wanted there. All that a linear
least-squares fit needs of them is u^T u, y^T u and y^T y: chunks are added up, never kept.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from yoloprune.darknet.shapes import Shape
from yoloprune.darknet.spec import Conv
from yoloprune.errors import WeightsError

FEWEST, MOST = 64, 256
"""Positions an image: neighbours say the same again, so more than this would add little."""

SAMPLES_PER_UNKNOWN = 16
"""Samples that are wanted for each unknown weight of a filter."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Positions:
    """Places of an output map: `rows` and `columns` (B, P) int64, other ones for each image."""

    rows: Tensor
    columns: Tensor


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Moments:
    """Sums over `count` samples, float64; the constant is the last entry of u.

    `gram` (g, d, d) is u^T u, `cross` (g, F / g, d) is y^T u, `energy` (g, F / g) the sum of y^2.
    """

    gram: Tensor
    cross: Tensor
    energy: Tensor
    count: int

    def variation(self) -> Tensor:  # -> (g, F / g)
        """The sum of (y - mean of y)^2."""
        return (self.energy - self.cross[..., -1].square() / self.count).clamp(min=0)


def window_values(conv: Conv, in_channels: int) -> int:
    """Values under a filter's window: C / g k^2."""
    return in_channels // conv.groups * conv.size * conv.size


def sample_bytes(conv: Conv, width: int) -> int:
    """What a sample takes: u of this width, in float32 and twice in float64, and y."""
    return 20 * conv.groups * width + 8 * conv.filters


def positions_per_image(conv: Conv, in_channels: int, shape: Shape, images: int) -> int:
    """At how many places of each of so many images a convolution with this output is sampled."""
    wanted = -(-SAMPLES_PER_UNKNOWN * (window_values(conv, in_channels) + 1) // images)
    return min(max(FEWEST, min(MOST, wanted)), shape[1] * shape[2])


def random_positions(
    images: int, shape: Shape, count: int, generator: torch.Generator
) -> Positions:
    """`count` different places of a map of this shape for each image."""
    _, height, width = shape
    ranks = torch.rand(images, height * width, generator=generator)
    places = ranks.topk(count, dim=1).indices
    return Positions(rows=places // width, columns=places % width)


def patches(inputs: Tensor, conv: Conv, positions: Positions) -> Tensor:
    """What the filters read at some places: (B, C, H, W) -> u (g, B P, d) float64."""
    padded = F.pad(inputs, (conv.padding,) * 4) if conv.padding else inputs
    reach = torch.arange(conv.size) * conv.dilation
    rows = (positions.rows * conv.stride_y)[:, :, None, None] + reach[:, None]
    columns = (positions.columns * conv.stride_x)[:, :, None, None] + reach
    image = torch.arange(len(inputs))[:, None, None, None]
    values = padded[image, :, rows, columns]  # (B, P, k, k, C)
    windows = values.permute(0, 1, 4, 2, 3).reshape(rows.shape[0] * rows.shape[1], conv.groups, -1)
    return F.pad(windows.double(), (0, 1), value=1.0).transpose(0, 1)


def values_at(outputs: Tensor, conv: Conv, positions: Positions) -> Tensor:
    """A map's values at some places: (B, F, H, W) -> y (g, B P, F / g) float64."""
    image = torch.arange(len(outputs))[:, None]
    values = outputs[image, :, positions.rows, positions.columns]  # (B, P, F)
    return values.double().reshape(positions.rows.numel(), conv.groups, -1).transpose(0, 1)


def gather(conv: Conv, in_channels: int, samples: Iterable[tuple[Tensor, Tensor]]) -> Moments:
    """Add up the samples (u, y) of a convolution, chunk by chunk.

    Raises `WeightsError` if they are not finite: nothing could be fitted to them.
    """
    width, rows = window_values(conv, in_channels) + 1, conv.filters // conv.groups
    gram = torch.zeros(conv.groups, width, width, dtype=torch.float64)
    cross = torch.zeros(conv.groups, rows, width, dtype=torch.float64)
    energy = torch.zeros(conv.groups, rows, dtype=torch.float64)
    count = 0
    for u, y in samples:
        gram.baddbmm_(u.transpose(1, 2), u)
        cross.baddbmm_(y.transpose(1, 2), u)
        energy += y.square().sum(dim=1)
        count += u.shape[1]
    # Every value of u and y has a square in one of the two.
    if not (gram.isfinite().all() and energy.isfinite().all()):
        raise WeightsError(
            f"{conv.title}: what it reads or gives on these images is not finite: the network's "
            "weights overflow, so it cannot be fitted"
        )
    return Moments(gram=gram, cross=cross, energy=energy, count=count)
