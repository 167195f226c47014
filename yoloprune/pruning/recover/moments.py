"""What a layer reads and should give, gathered as second moments in bounded memory.

Legend: B images of a chunk, P positions an image, N samples, g convolution groups, C input and F
output channels, k values of a window, d = C / g k + 1: the window's values and a constant 1.

u (g, N, d) are patches of an input, y (g, N, F / g) the outputs wanted there. All that a linear
least-squares fit needs of them is u^T u, y^T u and y^T y: chunks are added up, never kept.

A `Gemm` or a `MatMul` reads a window of one place, and so does a `ConvTranspose`, whose positions
are those of its input.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from yoloprune.errors import WeightsError
from yoloprune.graph.operators.windows import Windows, windows
from yoloprune.pruning.layers import Layer

POSITIONS = 256
"""Positions an image: neighbors say the same again, so more than this would add little."""

SAMPLES = 1 << 17
"""Positions of all images: of many images each gives fewer."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Positions:
    """Places of maps of these sizes, other ones for each image.

    `places` (B, P) int64 number them row by row.
    """

    places: Tensor
    sizes: tuple[int, ...]

    @property
    def axes(self) -> tuple[Tensor, ...]:
        """Where the places are along each axis, (B, P) int64 each."""
        if not self.sizes:
            return ()
        return tuple(torch.unravel_index(self.places, self.sizes))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Moments:
    """Sums over `count` samples, float64; the constant is the last entry of u.

    `gram` (g, d, d) is u^T u, `cross` (g, F / g, d) is y^T u, `energy` (g, F / g) the sum of y^2.
    """

    gram: Tensor
    cross: Tensor
    energy: Tensor
    count: int

    def squared_error(self, weights: Tensor) -> Tensor:
        """The sum of |y - W u|^2 for weights (g, F / g, d), float64, to within rounding."""
        explained = 2 * (weights * self.cross).sum() - (weights @ self.gram * weights).sum()
        return self.energy.sum() - explained

    def variation(self) -> Tensor:  # -> (g, F / g)
        """The sum of (y - mean of y)^2."""
        return (self.energy - self.cross[..., -1].square() / self.count).clamp(min=0)


def windows_of(layer: Layer) -> Windows:
    """The windows that a layer's filters read, over the axes that hold no channels."""
    if layer.node.operator == "Conv":
        return windows(layer.node, layer.before[2:], layer.window)
    sizes = list(layer.before[1:])
    del sizes[layer.channel_axis if layer.channel_axis < 0 else layer.channel_axis - 1]
    ones, zeros = (1,) * len(sizes), (0,) * len(sizes)
    return Windows(
        kernel=ones, strides=ones, dilations=ones, before=zeros, after=zeros, sizes=tuple(sizes),
        beyond=zeros,
    )  # fmt: skip


def window_values(layer: Layer) -> int:
    """Values under a filter's window: C / g k."""
    return layer.channels // layer.groups * math.prod(windows_of(layer).kernel)


def sample_bytes(layer: Layer) -> int:
    """What a sample takes: u in float32 and twice in float64, and y."""
    return 20 * layer.groups * (window_values(layer) + 1) + 8 * layer.filters


def positions_per_image(layer: Layer, images: int) -> int:
    """At how many places of each of so many images a layer is sampled."""
    most = min(POSITIONS, max(1, SAMPLES // images))
    return min(most, math.prod(windows_of(layer).sizes))


def random_positions(
    images: int, sizes: tuple[int, ...], count: int, generator: torch.Generator
) -> Positions:
    """`count` different places of a map of these sizes for each image."""
    ranks = torch.rand(images, math.prod(sizes), generator=generator)
    return Positions(places=ranks.topk(count, dim=1).indices, sizes=sizes)


def patches(inputs: Tensor, layer: Layer, positions: Positions) -> Tensor:
    """What the filters read at some places: (B, C, ...) -> u (g, B P, d) float64."""
    seen = windows_of(layer)
    rank, map_sizes = len(seen.sizes), inputs.movedim(layer.channel_axis, 1).shape[2:]
    index, inside = [], torch.ones((), dtype=torch.bool)
    for axis, own in enumerate(positions.axes):
        reach = torch.arange(seen.kernel[axis]) * seen.dilations[axis] - seen.before[axis]
        start = own.reshape(*own.shape, *(1,) * rank) * seen.strides[axis]
        place = start + reach.reshape(-1, *(1,) * (rank - axis - 1))
        index.append(place.clamp(0, map_sizes[axis] - 1))
        inside = inside & (place == index[-1])
    image = torch.arange(len(inputs)).reshape(-1, *(1,) * (rank + 1))
    values = inputs.movedim(layer.channel_axis, -1)[image, *index]  # (B, P, window ..., C)
    if not inside.all():
        # What lies outside is padded: a map need not be copied for a few places of it.
        values = values * inside[..., None].to(values)
    values = values.movedim(-1, 2)
    samples = positions.places.numel()
    u = values.new_ones(samples, layer.groups, window_values(layer) + 1, dtype=torch.float64)
    u[..., :-1] = values.reshape(samples, layer.groups, -1)
    return u.transpose(0, 1)


def values_at(outputs: Tensor, layer: Layer, positions: Positions) -> Tensor:
    """A map's values at some places: (B, F, ...) -> y (g, B P, F / g) float64."""
    image = torch.arange(len(outputs))[:, None]
    values = outputs.movedim(layer.channel_axis, -1)[image, *positions.axes]  # (B, P, F)
    return values.double().reshape(positions.places.numel(), layer.groups, -1).transpose(0, 1)


def joined(parts: Sequence[Moments]) -> Moments:
    """The sums over the samples of all parts."""
    return Moments(
        gram=torch.stack([part.gram for part in parts]).sum(dim=0),
        cross=torch.stack([part.cross for part in parts]).sum(dim=0),
        energy=torch.stack([part.energy for part in parts]).sum(dim=0),
        count=sum(part.count for part in parts),
    )


def toward(
    moments: Moments, samples: Iterable[tuple[Tensor, Tensor]], past: Moments | None = None
) -> Moments:
    """The moments of the same inputs with other outputs, of all the same samples (u, y).

    Those that are not among the samples any more are in `past`.
    """
    cross, energy = torch.zeros_like(moments.cross), torch.zeros_like(moments.energy)
    if past is not None:
        cross, energy = cross + past.cross, energy + past.energy
    for u, y in samples:
        cross.baddbmm_(y.transpose(1, 2), u)
        energy += y.square().sum(dim=1)
    return Moments(gram=moments.gram, cross=cross, energy=energy, count=moments.count)


def gather(layer: Layer, samples: Iterable[tuple[Tensor, Tensor]]) -> Moments:
    """Add up the samples (u, y) of a layer, chunk by chunk.

    Raises `WeightsError` if they are not finite: nothing could be fitted to them.
    """
    (moments,) = gather_parts(layer, samples, 1)
    return moments


def gather_parts(
    layer: Layer, samples: Iterable[tuple[Tensor, Tensor]], parts: int
) -> list[Moments]:
    """What `gather` gives, the chunks dealt out to so many parts in turn.

    Raises `WeightsError` if they are not finite: nothing could be fitted to them.
    """
    width, rows = window_values(layer) + 1, layer.filters // layer.groups
    shapes = (layer.groups, width, width), (layer.groups, rows, width), (layer.groups, rows)
    sums = [[torch.zeros(shape, dtype=torch.float64) for shape in shapes] for _ in range(parts)]
    counts = [0] * parts
    for number, (u, y) in enumerate(samples):
        part = number % parts
        sums[part] = gram, cross, energy = [total.to(u.device) for total in sums[part]]
        gram.baddbmm_(u.transpose(1, 2), u)
        cross.baddbmm_(y.transpose(1, 2), u)
        energy += y.square().sum(dim=1)
        counts[part] += u.shape[1]
    # Every value of u and y has a square in one of the two.
    if not all(gram.isfinite().all() and energy.isfinite().all() for gram, _, energy in sums):
        raise WeightsError(
            f"{layer.name}: what it reads or gives on these images is not finite: the network's "
            "weights overflow, so it cannot be fitted"
        )
    return [
        Moments(gram=gram, cross=cross, energy=energy, count=count)
        for (gram, cross, energy), count in zip(sums, counts, strict=True)
    ]
