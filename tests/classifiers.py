"""Classifiers that everyone knows, in torch: what the door reads is what torch exports of them.

Definitions follow the papers; `width` scales channels, so that tests can have small ones.
"""

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn


def alexnet(classes: int = 1000, width: float = 1.0) -> nn.Module:
    """A. Krizhevsky, "One weird trick for parallelizing convolutional neural networks", 2014."""
    a, b, c, d, hidden = (_wide(n, width) for n in (64, 192, 384, 256, 4096))
    pool = partial(nn.MaxPool2d, 3, 2)
    return nn.Sequential(
        nn.Conv2d(3, a, 11, 4, 2), nn.ReLU(), pool(),
        nn.Conv2d(a, b, 5, 1, 2), nn.ReLU(), pool(),
        nn.Conv2d(b, c, 3, 1, 1), nn.ReLU(),
        nn.Conv2d(c, d, 3, 1, 1), nn.ReLU(),
        nn.Conv2d(d, d, 3, 1, 1), nn.ReLU(), pool(),
        nn.AdaptiveAvgPool2d(6), nn.Flatten(),
        nn.Dropout(), nn.Linear(36 * d, hidden), nn.ReLU(),
        nn.Dropout(), nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, classes),
    )  # fmt: skip


class _Fire(nn.Module):
    def __init__(self, into: int, squeezed: int, expanded: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(into, squeezed, 1)
        self.small = nn.Conv2d(squeezed, expanded, 1)
        self.large = nn.Conv2d(squeezed, expanded, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.squeeze(x).relu()
        return torch.cat([self.small(x).relu(), self.large(x).relu()], 1)


def squeezenet(classes: int = 1000, width: float = 1.0) -> nn.Module:
    """F. Iandola et al., "SqueezeNet", 2016: version 1.0."""
    w = partial(_wide, width=width)
    layers: list[nn.Module] = [nn.Conv2d(3, w(96), 7, 2), nn.ReLU(), _ceiled_pool()]
    into = w(96)
    for squeezed, expanded in ((16, 64), (16, 64), (32, 128), (32, 128), (48, 192), (48, 192),
                               (64, 256), (64, 256)):  # fmt: skip
        layers.append(_Fire(into, w(squeezed), w(expanded)))
        into = 2 * w(expanded)
        if len(layers) in (6, 11):
            layers.append(_ceiled_pool())
    layers += [nn.Dropout(), nn.Conv2d(into, classes, 1), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())


def _ceiled_pool() -> nn.Module:
    return nn.MaxPool2d(3, 2, ceil_mode=True)


class _Gate(nn.Module):
    """Squeeze and excitation."""

    def __init__(self, channels: int, hidden: int, inner: nn.Module, outer: nn.Module) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(channels, hidden, 1), inner, nn.Conv2d(hidden, channels, 1), outer,
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return x * self.layers(x)


class _Shortcut(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        return x + self.inner(x)


def _normed(
    into: int, out: int, kernel: int, act: nn.Module, stride: int = 1, groups: int = 1
) -> list[nn.Module]:
    conv = nn.Conv2d(into, out, kernel, stride, kernel // 2, groups=groups, bias=False)
    return [conv, nn.BatchNorm2d(out), act]


def _inverted(
    into: int,
    hidden: int,
    out: int,
    kernel: int,
    stride: int,
    act: nn.Module,
    gate: nn.Module | None,
) -> nn.Module:
    layers = _normed(into, hidden, 1, act) if hidden != into else []
    layers += _normed(hidden, hidden, kernel, act, stride, groups=hidden)
    layers += [gate] if gate is not None else []
    layers += _normed(hidden, out, 1, nn.Identity())
    block = nn.Sequential(*layers)
    return _Shortcut(block) if stride == 1 and into == out else block


def mobilenet(classes: int = 1000, width: float = 1.0) -> nn.Module:
    """A. Howard et al., "Searching for MobileNetV3", 2019: large."""
    w = partial(_wide, width=width)
    layers = _normed(3, w(16), 3, nn.Hardswish(), 2)
    into = w(16)
    for kernel, hidden, out, gated, swish, stride in (
        (3, 16, 16, 0, 0, 1), (3, 64, 24, 0, 0, 2), (3, 72, 24, 0, 0, 1), (5, 72, 40, 1, 0, 2),
        (5, 120, 40, 1, 0, 1), (5, 120, 40, 1, 0, 1), (3, 240, 80, 0, 1, 2), (3, 200, 80, 0, 1, 1),
        (3, 184, 80, 0, 1, 1), (3, 184, 80, 0, 1, 1), (3, 480, 112, 1, 1, 1),
        (3, 672, 112, 1, 1, 1), (5, 672, 160, 1, 1, 2), (5, 960, 160, 1, 1, 1),
        (5, 960, 160, 1, 1, 1),
    ):  # fmt: skip
        own = _wide(w(hidden), 0.25)
        gate = _Gate(w(hidden), own, nn.ReLU(), nn.Hardsigmoid()) if gated else None
        act: nn.Module = nn.Hardswish() if swish else nn.ReLU()
        layers.append(_inverted(into, w(hidden), w(out), kernel, stride, act, gate))
        into = w(out)
    layers += [*_normed(into, w(960), 1, nn.Hardswish()), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    layers += [nn.Linear(w(960), w(1280)), nn.Hardswish(), nn.Dropout(0.2)]
    return nn.Sequential(*layers, nn.Linear(w(1280), classes))


def efficientnet(classes: int = 1000, width: float = 1.0) -> nn.Module:
    """M. Tan, Q. Le, "EfficientNet", 2019: B0."""
    w = partial(_wide, width=width)
    layers = _normed(3, w(32), 3, nn.SiLU(), 2)
    into = w(32)
    for times, kernel, stride, count, out in (
        (1, 3, 1, 1, 16), (6, 3, 2, 2, 24), (6, 5, 2, 2, 40), (6, 3, 2, 3, 80), (6, 5, 1, 3, 112),
        (6, 5, 2, 4, 192), (6, 3, 1, 1, 320),
    ):  # fmt: skip
        for number in range(count):
            gate = _Gate(times * into, max(1, into // 4), nn.SiLU(), nn.Sigmoid())
            own = stride if number == 0 else 1
            layers.append(_inverted(into, times * into, w(out), kernel, own, nn.SiLU(), gate))
            into = w(out)
    layers += [*_normed(into, w(1280), 1, nn.SiLU()), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return nn.Sequential(*layers, nn.Dropout(0.2), nn.Linear(w(1280), classes))


def _wide(channels: int, width: float) -> int:
    """A number of channels, scaled to a multiple of eight (of two, where it is small)."""
    step = 8 if channels * width >= 8 else 2
    rounded = max(step, int(channels * width + step / 2) // step * step)
    return rounded + step if rounded < 0.9 * channels * width else rounded


@dataclass(frozen=True, slots=True, kw_only=True)
class Classifier:
    """How to make one, and how many parameters it has at full width."""

    make: Callable[..., nn.Module]
    parameters: int


CLASSIFIERS: Mapping[str, Classifier] = {
    "alexnet": Classifier(make=alexnet, parameters=61_100_840),
    "efficientnet-b0": Classifier(make=efficientnet, parameters=5_288_548),
    "mobilenet-v3-large": Classifier(make=mobilenet, parameters=5_483_032),
    "squeezenet-1.0": Classifier(make=squeezenet, parameters=1_248_424),
}
"""With the numbers of parameters that torchvision's of these names have."""


def export(name: str, path: Path, *, width: float = 1.0, side: int = 224) -> None:
    """One of them as torch writes it, for square images of this side."""
    network = randomized(CLASSIFIERS[name].make(width=width))
    with warnings.catch_warnings():
        # The exporter that needs no package of its own is the older one.
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.onnx.export(
            network, (torch.rand(1, 3, side, side),), path, dynamo=False, opset_version=17,
            input_names=["images"], output_names=["scores"],
        )  # fmt: skip


def randomized(network: nn.Module, seed: int = 0) -> nn.Module:
    """The network with seeded numbers in all that it has, and batch norms that have seen noise."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for name, array in network.named_parameters():
            if array.dim() > 1:
                array.normal_(std=(2 / array[0].numel()) ** 0.5)
            else:
                array.normal_(std=0.1).add_(1.0 if name.endswith("weight") else 0.0)
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = 0.9
        network.train()(torch.rand(4, 3, 96, 96))
    return network.eval()


def exported(network: nn.Module, path: Path, size: int = 224) -> Path:
    """An ONNX file of a classifier of images of this size, with their number fixed to one.

    By torch's older exporter, which needs no further package and takes a second where the other
    takes half a minute.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.onnx.export(network.eval(), (torch.zeros(1, 3, size, size),), path, dynamo=False)
    return path
