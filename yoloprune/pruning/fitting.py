"""The closed forms of recovery: a kernel fitted to samples, a batch norm to statistics.

Both work on one convolution, in float64, and know nothing of the network around it.
"""

from collections.abc import Iterable
from dataclasses import replace
from typing import TypeAlias

import torch
from torch import Tensor

from yoloprune.darknet.state import BATCH_NORM_EPSILON, ConvParameters
from yoloprune.pruning.statistics import Moments

RIDGE = 1e-3
"""Weight of the old kernel, as a share of the mean square of what a filter reads."""

Statistics: TypeAlias = tuple[Tensor, Tensor]
"""Mean and variance of each channel of an output: (F,) float64 each."""

LARGEST_GAIN = 10.0
"""How many times a recalibrated channel's deviation may grow: a dead one stays dead."""


def fit_kernel(
    moments: Moments,
    parameters: ConvParameters,
    ridge: float,
    wanted_mean: Tensor | None,
    held: Tensor | None = None,
) -> tuple[ConvParameters, float, float]:
    """Parameters that give the samples best, and the relative errors before and after.

    Minimises |y - W u|^2 + r |W - W_old|^2, where r is `ridge` times the mean square of the
    window's values; the constant's weight is free. `wanted_mean` (F,) float64 is what batch norm,
    if there is one, takes off y: compensation has moved constants into the parameters' own mean.
    Filters that are True in `held` (F,) stay as they are.
    """
    old = _as_matrix(parameters, wanted_mean, len(moments.gram))
    damped = moments.gram.clone()
    energies = damped.diagonal(dim1=1, dim2=2)[:, :-1]
    # Where a window reads zeros alone, the old kernel stays.
    penalty = (ridge * energies.mean(dim=1)).clamp(min=torch.finfo(torch.float64).tiny)
    energies += penalty[:, None]
    missing = moments.cross - old @ moments.gram  # (g, F / g, d)
    factor = torch.linalg.cholesky(damped)
    new = old + torch.cholesky_solve(missing.transpose(1, 2), factor).transpose(1, 2)
    if held is not None:
        new = torch.where(held.reshape(*new.shape[:2], 1), old, new)
    before, after = (_relative_error(moments, weights) for weights in (old, new))
    return _with_matrix(parameters, wanted_mean, new), before, after


def _relative_error(moments: Moments, weights: Tensor) -> float:
    explained = 2 * (weights * moments.cross).sum() - (weights @ moments.gram * weights).sum()
    error = (moments.energy.sum() - explained).clamp(min=0)
    size = moments.variation().sum()
    return float((error / size).sqrt()) if size > 0 else 0.0


def _as_matrix(
    parameters: ConvParameters, wanted_mean: Tensor | None, groups: int
) -> Tensor:  # -> (g, F / g, d)
    """Kernel and constant: the bias or, with batch norm, what its mean lacks of the wanted one."""
    kernel = parameters.kernel.double().flatten(1)
    if parameters.mean is None or wanted_mean is None:
        constant = parameters.bias.double()
    else:
        constant = wanted_mean - parameters.mean.double()
    matrix = torch.cat([kernel, constant[:, None]], dim=1)
    return matrix.reshape(groups, len(matrix) // groups, -1)


def _with_matrix(
    parameters: ConvParameters, wanted_mean: Tensor | None, matrix: Tensor
) -> ConvParameters:
    rows = matrix.flatten(0, 1)
    kernel = rows[:, :-1].reshape(parameters.kernel.shape).to(parameters.kernel)
    constant = rows[:, -1]
    if parameters.mean is None or wanted_mean is None:
        return replace(parameters, kernel=kernel, bias=constant.to(parameters.bias))
    mean = wanted_mean - constant
    return replace(parameters, kernel=kernel, mean=mean.to(parameters.mean))


def recalibrated(
    parameters: ConvParameters, dense_mean: Tensor, wanted: Statistics, own: Statistics
) -> ConvParameters:
    """Batch-norm statistics under which each channel varies as it did in the dense network.

    `wanted` are those of the dense convolution's output before batch norm, `own` the slim one's;
    `dense_mean` (F,) float64 is what the dense batch norm takes off. The parameters have a batch
    norm too.
    """
    assert parameters.variance is not None
    (wanted_mean, wanted_variance), (mean, variance) = wanted, own
    # Batch norm divides by its deviation: as much smaller as the channel has become.
    ratio = (variance / wanted_variance).clamp(min=LARGEST_GAIN**-2)
    ratio = torch.where(wanted_variance > 0, ratio, 1.0)
    old = parameters.variance.double() + BATCH_NORM_EPSILON
    stored = (old * ratio - BATCH_NORM_EPSILON).clamp(min=0).to(parameters.variance)
    # By as much as batch norm will divide: a variance below zero cannot be stored.
    ratio = (stored.double() + BATCH_NORM_EPSILON) / old
    shift = (dense_mean - wanted_mean) * ratio.sqrt()
    return replace(parameters, mean=(mean + shift).to(stored), variance=stored)


def channel_statistics(outputs: Iterable[Tensor]) -> Statistics:
    """Mean and variance of each channel over all chunks (B, F, H, W)."""
    first, second, count = torch.zeros(1), torch.zeros(1), 0
    for output in outputs:
        values = output.double()
        first = first + values.sum(dim=(0, 2, 3))
        second = second + values.square().sum(dim=(0, 2, 3))
        count += values[:, 0].numel()
    mean = first / count
    return mean, (second / count - mean.square()).clamp(min=0)
