"""The closed forms of recovery: a kernel fitted to samples, a batch norm to statistics.

Both work on one layer, in float64, and know nothing of the network around it. They give the arrays
that change, by name.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

from yoloprune.pruning.layers import Arrays, Layer, as_kernel, by_filter
from yoloprune.pruning.recover.moments import Moments

RIDGE = 1e-3
"""Weight of the old kernel, as a share of the mean square of what a filter reads."""

RIDGES = (RIDGE, 1e-2, 1e-1, 1.0)
"""Weights that are tried on held-out images."""

ROUNDING = 1e-12
"""Squared error, relative to the squares of what is wanted, that is taken to be none."""

Statistics: TypeAlias = tuple[Tensor, Tensor]
"""Mean and variance of each channel of an output: (F,) float64 each."""

LARGEST_GAIN = 10.0
"""How many times a recalibrated channel's deviation may grow: a dead one stays dead."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Fitted:
    """A layer's new arrays, and the relative errors before and after."""

    arrays: dict[str, Tensor]
    before: float
    after: float


def can_be_fitted(layer: Layer) -> bool:
    """Whether a layer's kernel can be fitted to what it reads.

    Not that of a transposed convolution, several of whose windows add up in a place, nor that of a
    `Gemm` which scales its product, nor one that others read too.
    """
    scaled = any(layer.node.attributes.get(name, 1.0) != 1 for name in ("alpha", "beta"))
    return layer.own and layer.node.operator != "ConvTranspose" and not scaled


def fit_kernel(
    moments: Moments,
    layer: Layer,
    arrays: Arrays,
    ridge: float,
    wanted_mean: Tensor | None,
    held: Tensor | None = None,
) -> Fitted:
    """The kernel and constant that give the samples best.

    Minimizes |y - W u|^2 + r |W - W_old|^2, where r is `ridge` times the mean square of the
    window's values; the constant's weight is free, where there is a place for it. `wanted_mean`
    (F,) float64 is what batch norm, if there is one, takes off y: compensation has moved constants
    into the arrays' own mean. Filters that are True in `held` (F,) stay as they are.
    """
    old = as_matrix(layer, arrays, wanted_mean)
    damped = moments.gram.clone()
    energies = damped.diagonal(dim1=1, dim2=2)[:, :-1]
    # Where a window reads zeros alone, the old kernel stays.
    penalty = (ridge * energies.mean(dim=1)).clamp(min=torch.finfo(torch.float64).tiny)
    energies += penalty[:, None]
    missing = moments.cross - old @ moments.gram  # (g, F / g, d)
    # What neither a bias nor a batch norm can hold stays 0.
    free = old.shape[-1] - (layer.bias is None and layer.norm is None)
    factor = torch.linalg.cholesky(damped[:, :free, :free])
    new = old.clone()
    new[..., :free] += torch.cholesky_solve(missing[..., :free].transpose(1, 2), factor).mT
    if held is not None:
        new = torch.where(held.to(new.device).reshape(*new.shape[:2], 1), old, new)
    return Fitted(
        arrays=_with_matrix(layer, arrays, wanted_mean, new),
        before=_relative_error(moments, old),
        after=_relative_error(moments, new),
    )


def held_out_ridge(
    halves: Sequence[Moments],
    layer: Layer,
    arrays: Arrays,
    wanted_mean: Tensor | None,
    held: Tensor | None = None,
) -> float:
    """The one of `RIDGES` whose kernel, fitted to one half of the images, is best on the other.

    Neighboring places of an image say nearly the same: a kernel may fit so many samples well that
    are of few images, and be wrong on any others.
    """
    best, least = RIDGE, math.inf
    for ridge in RIDGES:
        error = 0.0
        for known, other in (halves, halves[::-1]):
            found = fit_kernel(known, layer, arrays, ridge, wanted_mean, held).arrays
            weights = as_matrix(layer, {**arrays, **found}, wanted_mean)
            error += float(other.squared_error(weights))
        if error >= least:
            break
        best, least = ridge, error
    return best


def _relative_error(moments: Moments, weights: Tensor) -> float:
    energy = moments.energy.sum()
    error = moments.squared_error(weights)
    # A difference of sums: what is that small is their rounding.
    error = torch.where(error > ROUNDING * energy, error, 0.0)
    size = moments.variation().sum()
    return float((error / size).sqrt()) if size > 0 else 0.0


def as_matrix(
    layer: Layer, arrays: Arrays, wanted_mean: Tensor | None
) -> Tensor:  # -> (g, F / g, d)
    """Kernel and constant: the bias, less with batch norm what its mean lacks of the wanted one."""
    kernel = by_filter(layer, arrays[layer.kernel]).double().flatten(1)
    constant = kernel.new_zeros(layer.filters)
    if layer.bias is not None:
        constant += arrays[layer.bias].double().reshape(-1)
    if layer.norm is not None and wanted_mean is not None:
        constant += wanted_mean - arrays[layer.norm.mean].double()
    matrix = torch.cat([kernel, constant[:, None]], dim=1)
    return matrix.reshape(layer.groups, len(matrix) // layer.groups, -1)


def _with_matrix(
    layer: Layer, arrays: Arrays, wanted_mean: Tensor | None, matrix: Tensor
) -> dict[str, Tensor]:
    """The kernel, and what holds the constant: the mean or, without batch norm, the bias."""
    rows = matrix.flatten(0, 1)
    kernel, constant = arrays[layer.kernel], rows[:, -1]
    filters = rows[:, :-1].reshape(by_filter(layer, kernel).shape)
    ready = {layer.kernel: as_kernel(layer, filters).to(kernel)}
    bias = None if layer.bias is None else arrays[layer.bias]
    if layer.norm is not None and wanted_mean is not None:
        own = arrays[layer.norm.mean]
        mean = wanted_mean - constant + (0 if bias is None else bias.double().reshape(-1))
        ready[layer.norm.mean] = mean.to(own)
    elif layer.bias is not None and bias is not None:
        ready[layer.bias] = constant.reshape(bias.shape).to(bias)
    return ready


def recalibrated(
    layer: Layer, arrays: Arrays, dense_mean: Tensor, wanted: Statistics, own: Statistics
) -> dict[str, Tensor]:
    """Batch-norm statistics under which each channel varies as it did in the dense network.

    `wanted` are those of the dense layer's output before batch norm, `own` the slim one's;
    `dense_mean` (F,) float64 is what the dense batch norm takes off. The layer has a batch norm
    too.
    """
    assert layer.norm is not None
    stored_variance, epsilon = arrays[layer.norm.variance], layer.norm.epsilon
    (wanted_mean, wanted_variance), (mean, variance) = wanted, own
    # Batch norm divides by its deviation: as much smaller as the channel has become.
    ratio = (variance / wanted_variance).clamp(min=LARGEST_GAIN**-2)
    ratio = torch.where(wanted_variance > 0, ratio, 1.0)
    old = stored_variance.double() + epsilon
    stored = (old * ratio - epsilon).clamp(min=0).to(stored_variance)
    # By as much as batch norm will divide: a variance below zero cannot be stored.
    ratio = (stored.double() + epsilon) / old
    shift = (dense_mean - wanted_mean) * ratio.sqrt()
    return {layer.norm.mean: (mean + shift).to(stored), layer.norm.variance: stored}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ChannelSums:
    """Sums over `count` values of each channel, and of their squares: (F,) float64 each."""

    first: Tensor
    second: Tensor
    count: int

    def __add__(self, other: "ChannelSums") -> "ChannelSums":
        return ChannelSums(
            first=self.first + other.first,
            second=self.second + other.second,
            count=self.count + other.count,
        )

    def statistics(self) -> Statistics:
        """Mean and variance of each channel."""
        mean = self.first / self.count
        return mean, (self.second / self.count - mean.square()).clamp(min=0)


def channel_sums(outputs: Iterable[Tensor]) -> ChannelSums:
    """Over all chunks (B, F, ...)."""
    first, second, count = torch.zeros(1), torch.zeros(1), 0
    for output in outputs:
        values = output.double()
        rest = [axis for axis in range(values.dim()) if axis != 1]
        first = first.to(values) + values.sum(dim=rest)
        second = second.to(values) + values.square().sum(dim=rest)
        count += values[:, 0].numel()
    return ChannelSums(first=first, second=second, count=count)
