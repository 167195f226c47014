"""Torch modules for single darknet layers.

Shapes: images and feature maps are (B, C, H, W).
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from yoloprune.frontends.darknet.spec import Conv, MaxPool, Reorg
from yoloprune.frontends.darknet.state import BATCH_NORM_EPSILON, ConvParameters

Activation = Callable[[Tensor], Tensor]


def _loggy(x: Tensor) -> Tensor:
    return 2 * torch.sigmoid(x) - 1


def _relie(x: Tensor) -> Tensor:
    return F.leaky_relu(x, 0.01)


def _ramp(x: Tensor) -> Tensor:
    return F.relu(x) + 0.1 * x


def _plse(x: Tensor) -> Tensor:
    middle = 0.125 * x + 0.5
    low, high = 0.01 * (x + 4), 0.01 * (x - 4) + 1
    return torch.where(x < -4, low, torch.where(x > 4, high, middle))


def _stair(x: Tensor) -> Tensor:
    step, half = torch.floor(x), torch.floor(x / 2)
    return torch.where(step % 2 == 0, half, x - step + half)


def _lhtan(x: Tensor) -> Tensor:
    return torch.where(x < 0, 0.001 * x, torch.where(x > 1, 0.001 * (x - 1) + 1, x))


def _selu(x: Tensor) -> Tensor:
    # darknet rounds the two constants of SELU.
    return 1.0507 * F.elu(x, alpha=1.6732)


def _gelu(x: Tensor) -> Tensor:
    return 0.5 * x * (1 + torch.tanh(0.797885 * x + 0.035677 * x**3))


def _hard_mish(x: Tensor) -> Tensor:
    return torch.where(x > 0, x, torch.where(x > -2, x * x / 2 + x, torch.zeros_like(x)))


def _leaky(x: Tensor) -> Tensor:
    return F.leaky_relu(x, 0.1)


def _linear(x: Tensor) -> Tensor:
    return x


ACTIVATION_FUNCTIONS: dict[str, Activation] = {
    "elu": F.elu,
    "gelu": _gelu,
    "hard_mish": _hard_mish,
    "hardtan": F.hardtanh,
    "leaky": _leaky,
    "lhtan": _lhtan,
    "linear": _linear,
    "loggy": _loggy,
    "logistic": torch.sigmoid,
    "mish": F.mish,
    "plse": _plse,
    "ramp": _ramp,
    "relie": _relie,
    "relu": F.relu,
    "relu6": F.relu6,
    "selu": _selu,
    "stair": _stair,
    "swish": F.silu,
    "tanh": torch.tanh,
}
"""Darknet's activations by name (`src/activations.h`)."""


def folded(parameters: ConvParameters) -> ConvParameters:
    """The same convolution, its batch norm folded in; zeros of the kernel stay zero."""
    kernel, bias = parameters.kernel, parameters.bias
    if parameters.scale is None or parameters.mean is None or parameters.variance is None:
        return parameters
    factor = parameters.scale / torch.sqrt(parameters.variance + BATCH_NORM_EPSILON)
    return ConvParameters(
        kernel=kernel * factor[:, None, None, None], bias=bias - parameters.mean * factor
    )


class ConvLayer(nn.Module):
    """Convolution, batch norm unless it has a bias, activation."""

    def __init__(self, conv: Conv, in_channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(
            in_channels,
            conv.filters,
            conv.size,
            stride=(conv.stride_y, conv.stride_x),
            padding=conv.padding,
            dilation=conv.dilation,
            groups=conv.groups,
            bias=not conv.batch_normalize,
        )
        self.norm = (
            nn.BatchNorm2d(conv.filters, eps=BATCH_NORM_EPSILON) if conv.batch_normalize else None
        )
        self.activation = ACTIVATION_FUNCTIONS[conv.activation]

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, F, H', W')."""
        return self.finish(self.conv(x))

    def finish(self, x: Tensor) -> Tensor:
        """Batch norm, if there is one, and activation of the convolution's own output."""
        if self.norm is not None:
            x = self.norm(x)
        return self.activation(x)


class MaxPoolLayer(nn.Module):
    """Max pooling with darknet's uneven padding: floor half of the total left and top."""

    def __init__(self, pool: MaxPool) -> None:
        super().__init__()
        before, after = pool.padding // 2, pool.padding - pool.padding // 2
        self.even = before == after and before <= pool.size // 2
        self.border = (before, after, before, after)
        self.pool = nn.MaxPool2d(
            pool.size, (pool.stride_y, pool.stride_x), padding=before if self.even else 0
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H', W')."""
        if not self.even:
            x = F.pad(x, self.border, value=float("-inf"))
        pooled: Tensor = self.pool(x)
        return pooled


class ReorgLayer(nn.Module):
    """Space to depth, in either of darknet's two orders (see `spec.Reorg`)."""

    def __init__(self, reorg: Reorg) -> None:
        super().__init__()
        self.stride = reorg.stride
        self.mixes_channels = reorg.mixes_channels

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C s^2, H/s, W/s)."""
        batch, channels, height, width = x.shape
        s = self.stride
        if self.mixes_channels:
            # Memory read as (C/s^2, H s, W s); its rows and columns split into (row, offset).
            rows = x.reshape(batch, channels * height // s**2, s, width, s)
            blocks = rows.permute(0, 2, 4, 1, 3)
        else:
            rows = x.reshape(batch, channels, height // s, s, width // s, s)
            blocks = rows.permute(0, 3, 5, 1, 2, 4)
        return blocks.reshape(batch, channels * s**2, height // s, width // s)
