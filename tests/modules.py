"""Modules as people write them, for the door that reads them; definitions follow the papers."""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from tests.classifiers import CLASSIFIERS, randomized
from yoloprune.graph.model import Model
from yoloprune.workflows.modules import load_module


class Block(nn.Module):
    """Convolution, batch norm, ReLU."""

    def __init__(self, into: int, out: int, kernel: int = 3, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(into, out, kernel, stride, kernel // 2, bias=False)
        self.bn = nn.BatchNorm2d(out)

    def forward(self, x: Tensor) -> Tensor:
        return self.bn(self.conv(x)).relu()


class Plain(nn.Module):
    """A classifier of 30 lines."""

    def __init__(self, classes: int = 4) -> None:
        super().__init__()
        self.features = nn.Sequential(Block(3, 8, stride=2), Block(8, 12), Block(12, 16, stride=2))
        self.hidden = nn.Linear(16, 10)
        self.scores = nn.Linear(10, classes)

    def forward(self, images: Tensor) -> Tensor:
        pooled = self.features(images).mean((2, 3))
        return self.scores(self.hidden(pooled).relu())


class Halves(nn.Module):
    """Halves by `chunk` and by `split` with a size that it keeps, and shuffles channels."""

    def __init__(self) -> None:
        super().__init__()
        self.c = 8
        self.widths = [8, 8]
        self.into = Block(3, 2 * self.c, 1)
        self.inner = nn.ModuleList(Block(self.c, self.c) for _ in range(2))
        self.out = Block(4 * self.c, 20, 1)
        self.sized = Block(20, 16, 1)
        self.last = nn.Conv2d(16 + 4 * 3, 5, 1)
        self.rows = nn.Conv2d(20, 12, 1)

    def forward(self, x: Tensor) -> Tensor:
        parts = list(self.into(x).chunk(2, 1))
        for block in self.inner:
            parts.append(parts[-1] + block(parts[-1]))
        found = self.out(torch.cat(parts, 1))
        left, right = self.sized(found).split((self.c, self.c), 1)
        batch, channels, height, width = found.shape
        found = found.view(batch, 2, channels // 2, height, width).transpose(1, 2)
        found = self.rows(found.reshape(batch, channels, height, width))
        return self.last(torch.cat((left * right.sigmoid(), right, found), 1))


class Attention(nn.Module):
    """Heads whose sizes it keeps; a stream whose width is in its code."""

    def __init__(self) -> None:
        super().__init__()
        self.heads, self.key, self.head = 2, 6, 10
        self.scale = self.key**-0.5
        self.stem = Block(3, 9)
        self.qkv = nn.Conv2d(9, self.heads * (2 * self.key + self.head), 1)
        self.project = nn.Conv2d(self.heads * self.head, 7, 1)
        self.fixed = nn.Conv2d(7, 12, 1)
        self.out = nn.Conv2d(4, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        batch, _, height, width = x.shape
        together = self.qkv(x).view(batch, self.heads, 2 * self.key + self.head, height * width)
        q, k, v = together.split([self.key, self.key, self.head], dim=2)
        weights = (q.transpose(-2, -1) @ k * self.scale).softmax(-1)
        found = (v @ weights.transpose(-2, -1)).view(batch, self.heads * self.head, height, width)
        a, b, c = self.fixed(self.project(found)).split((4, 4, 4), 1)
        return self.out(a * b + c.relu())


class Many(nn.Module):
    """Two inputs, several outputs, one head for two levels, buffers, tied and plain tensors."""

    offset: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = Block(3, 8), Block(2, 8)
        self.down = Block(8, 8, stride=2)
        self.head = nn.ModuleDict({"box": nn.Conv2d(8, 4, 1), "hidden": Block(8, 6, 1)})
        self.again = nn.Conv2d(6, 6, 1)
        self.more = nn.Conv2d(6, 6, 1)
        self.more.weight = self.again.weight
        self.register_buffer("offset", torch.rand(8, 1, 1), persistent=False)
        self.gain = torch.rand(1, 6, 1, 1) + 0.5
        self.score = nn.Linear(6, 2)

    def forward(self, a: Tensor, b: Tensor) -> dict[str, Sequence[Tensor]]:
        first = self.left(a) + self.right(b) + self.offset
        levels = [first, self.down(first)]
        hidden = [self.head["hidden"](level) * self.gain for level in levels]
        hidden = [self.more(self.again(own).relu()) for own in hidden]
        scores = [self.score(own.flatten(2).transpose(1, 2)) for own in hidden]
        return {"boxes": [self.head["box"](level) for level in levels], "scores": scores}


class Words(nn.Module):
    """Attention over words, by torch's own function, behind a map that is normalized in groups."""

    def __init__(self) -> None:
        super().__init__()
        self.heads = 2
        self.into = nn.Linear(5, 12)
        self.q, self.k, self.v = (nn.Linear(12, 12) for _ in range(3))
        self.out = nn.Linear(12, 3)
        self.patch, self.norm = nn.Conv2d(3, 16, 3), nn.GroupNorm(4, 16)
        self.last = nn.Conv2d(16, 2, 1)

    def forward(self, words: Tensor, images: Tensor) -> tuple[Tensor, Tensor]:
        words = self.into(words)
        batch, count, _ = words.shape
        q, k, v = (
            own(words).view(batch, count, self.heads, -1).transpose(1, 2)
            for own in (self.q, self.k, self.v)
        )
        found = nn.functional.scaled_dot_product_attention(q, k, v).transpose(1, 2)
        maps = self.last(self.norm(self.patch(images)).relu())
        return self.out(found.reshape(batch, count, -1)), maps


class _Bottleneck(nn.Module):
    def __init__(self, into: int, width: int, stride: int) -> None:
        super().__init__()
        out = 4 * width
        self.first, self.second = Block(into, width, 1), Block(width, width, 3, stride)
        self.conv = nn.Conv2d(width, out, 1, bias=False)
        self.bn = nn.BatchNorm2d(out)
        self.short = nn.Sequential()
        if stride > 1 or into != out:
            conv = nn.Conv2d(into, out, 1, stride, bias=False)
            self.short = nn.Sequential(conv, nn.BatchNorm2d(out))

    def forward(self, x: Tensor) -> Tensor:
        found = self.bn(self.conv(self.second(self.first(x))))
        return (found + self.short(x)).relu()


def resnet50(classes: int = 1000, width: int = 64) -> nn.Module:
    """K. He et al., "Deep Residual Learning", 2015, with the stride in the 3 x 3 convolutions."""
    layers: list[nn.Module] = [Block(3, width, 7, 2), nn.MaxPool2d(3, 2, 1)]
    into = width
    for level, count in enumerate((3, 4, 6, 3)):
        for number in range(count):
            own = width << level
            layers.append(_Bottleneck(into, own, 2 if level and not number else 1))
            into = 4 * own
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(into, classes)]
    return nn.Sequential(*layers)


class Detector(nn.Module):
    """W. Liu et al., "SSD", 2016, on a small backbone: priors that it holds make the boxes."""

    priors: Tensor

    def __init__(self, classes: int = 3, width: int = 8, side: int = 64) -> None:
        super().__init__()
        self.classes = classes
        stages = zip((3, 1, 2, 4), (1, 2, 4, 4), strict=True)
        self.stages = nn.ModuleList(
            nn.Sequential(Block(into if into == 3 else into * width, out * width, stride=2),
                          Block(out * width, out * width))
            for into, out in stages
        )  # fmt: skip
        self.boxes = nn.ModuleList(nn.Conv2d(4 * width, 2 * 4, 3, padding=1) for _ in range(2))
        self.scores = nn.ModuleList(
            nn.Conv2d(4 * width, 2 * classes, 3, padding=1) for _ in range(2)
        )
        cells = [(side // step) ** 2 for step in (8, 16)]
        self.register_buffer("priors", torch.rand(1, 2 * sum(cells), 4) + 0.1)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        levels = []
        for stage in self.stages:
            images = stage(images)
            levels.append(images)
        batch = images.shape[0]
        boxes, scores = [], []
        for level, box, score in zip(levels[-2:], self.boxes, self.scores, strict=True):
            boxes.append(box(level).permute(0, 2, 3, 1).reshape(batch, -1, 4))
            scores.append(score(level).permute(0, 2, 3, 1).reshape(batch, -1, self.classes))
        offsets = torch.cat(boxes, 1)
        centers = self.priors[..., :2] + 0.125 * offsets[..., :2] * self.priors[..., 2:]
        sizes = self.priors[..., 2:] * (0.25 * offsets[..., 2:]).exp()
        corners = torch.cat((centers - sizes / 2, centers + sizes / 2), -1)
        return corners, torch.cat(scores, 1).softmax(-1)


@contextmanager
def quiet() -> Iterator[None]:
    """What torch warns of while it exports is of its own versions."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def noisy(module: nn.Module, seed: int = 0) -> nn.Module:
    """A module in evaluation mode with seeded numbers in all its tensors."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in (*module.named_parameters(), *module.named_buffers()):
            if not tensor.is_floating_point():
                continue
            noise = torch.rand(tensor.shape, generator=generator)
            small = tensor.dim() < 2
            tensor.copy_(0.5 + noise if small else (noise - 0.4) * (6 / tensor[0].numel()) ** 0.5)
            if name.endswith("bias"):
                tensor.sub_(0.9)
    return module.eval()


def example(name: str) -> tuple[nn.Module, tuple[Tensor, ...]]:
    """A module of this name, and what it is called with."""
    torch.manual_seed(0)
    image = torch.rand(1, 3, 64, 64)
    match name:
        case "plain":
            return noisy(Plain()), (image[..., :16, :16],)
        case "halves":
            return noisy(Halves()), (image[..., :8, :12],)
        case "attention":
            return noisy(Attention()), (image[..., :6, :8],)
        case "many":
            return noisy(Many()), (image[..., :8, :8], image[:, :2, :8, :8])
        case "words":
            return noisy(Words()), (image[0, :2, :4, :5], image[..., :6, :6])
        case "detector":
            return noisy(Detector()), (image,)
        case "resnet":
            return randomized(resnet50(10, 8)), (image,)
        case _:
            network = CLASSIFIERS[name].make(classes=10, width=0.0625 if "alex" in name else 0.125)
            return noisy(network), (torch.rand(1, 3, 96, 96) if "alex" in name else image,)


@cache
def loaded(name: str) -> tuple[nn.Module, tuple[Any, ...], Model]:
    """That, and the network that it is: exporting one takes seconds."""
    module, inputs = example(name)
    return module, inputs, load_module(module, inputs)
