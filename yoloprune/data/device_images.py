"""Training samples made where the network is trained: all images lie there, and so do the batches.

The same recipes as on the processor, rendered by gathers: the boxes are the same numbers, the
pixels differ by the rounding of the warp. Colors are shifted as there; blur and JPEG are left out.
"""

import math
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from yoloprune.cores import available_cores
from yoloprune.data.augment import GRAY, HUE, RECOLORED, SATURATION, VALUE
from yoloprune.data.dataset import Dataset
from yoloprune.data.images import Image, read_image
from yoloprune.data.levels import LEVELS, levels_of, nearest_levels, shrunk
from yoloprune.data.loader import Batch, batch_places, epoch_order
from yoloprune.data.recipes import TILES, Recipes, cut, drawn, fitted, moved, uniforms
from yoloprune.devices import to_device

BORDER = 3
"""Gray pixels in each row and column of what is kept: one before the image and two after it, so
that the neighbors of every place between them exist."""


def memory(dataset: Dataset, longest: int, channels: int) -> int:
    """Bytes that the images of a data set take at most, all levels of them."""
    sides = [math.ceil(longest / (1 << level)) + BORDER for level in range(LEVELS)]
    return len(dataset.images) * channels * sum(side * side for side in sides)


class DeviceImages:
    """The images of a data set on a device, uint8, and the samples that are made of them there.

    `longest` is the longer side that images are shrunk to, pixels; none is enlarged. Raises
    `DatasetError` if one cannot be read.
    """

    def __init__(
        self,
        dataset: Dataset,
        *,
        augment: bool,
        mosaic: float,
        seed: int,
        channels: int,
        longest: int,
        device: torch.device,
    ) -> None:
        self.augment, self.mosaic, self.seed, self.device = augment, mosaic, seed, device
        self._counts = np.array([len(image.labels) for image in dataset.images])
        self._first = self._counts.cumsum() - self._counts
        self._labels = np.concatenate([image.labels for image in dataset.images])
        parts: list[NDArray[np.uint8]] = []
        self.shapes = np.zeros((len(dataset.images), LEVELS, 2), np.int64)
        self.starts = np.zeros((len(dataset.images), LEVELS), np.int64)
        position, border = 0, ((1, BORDER - 1), (1, BORDER - 1), (0, 0))
        paths = [image.path for image in dataset.images]
        with ThreadPoolExecutor(available_cores()) as pool:
            found = pool.map(partial(_levels_of, channels=channels, longest=longest), paths)
            images = list(found)
        for number, smaller in enumerate(images):
            for level, small in enumerate(smaller):
                self.shapes[number, level] = small.shape[:2]
                self.starts[number, level] = position
                bordered = np.pad(small, border, constant_values=GRAY)
                position += bordered.shape[0] * bordered.shape[1]
                parts.append(bordered.reshape(-1, channels))
        self.pixels = torch.from_numpy(np.concatenate(parts)).to(device)
        height, width = np.repeat(self.shapes[:, 0], self._counts, axis=0).T
        boxes = np.concatenate([image.boxes for image in dataset.images])
        self._boxes = (boxes * np.stack((width, height) * 2, axis=1)).astype(np.float32)

    def __len__(self) -> int:
        return len(self._counts)

    def batches(
        self,
        *,
        batch_size: int,
        parts: int,
        own_parts: range,
        epoch: int,
        first_step: int,
        base_size: tuple[int, int],
        multi_scale: float,
    ) -> Generator[Batch, None, None]:
        """Micro-batches as `loader.micro_batches` gives them; the images lie on the device."""
        order = epoch_order(len(self), seed=self.seed, epoch=epoch)
        for places, size in batch_places(
            len(self),
            batch_size=batch_size,
            parts=parts,
            own_parts=own_parts,
            epoch=epoch,
            first_step=first_step,
            base_size=base_size,
            multi_scale=multi_scale,
            seed=self.seed,
        ):
            yield self.batch(order[places.start : places.stop], epoch, places.start, size)

    def batch(
        self, numbers: NDArray[np.int64], epoch: int, place: int, size: tuple[int, int]
    ) -> Batch:
        """The samples of the images of these numbers, the first of which has this place."""
        recipes = self._recipes(numbers, epoch, place, size)
        image, label, boxes = self._objects(recipes)
        return Batch(
            images=self._rendered(recipes),
            image=torch.from_numpy(image),
            label=torch.from_numpy(label),
            boxes=torch.from_numpy(boxes),
        )

    def _recipes(
        self, numbers: NDArray[np.int64], epoch: int, place: int, size: tuple[int, int]
    ) -> Recipes:
        if self.augment:
            seeds = [(self.seed, epoch, place + n) for n in range(len(numbers))]
            return drawn(
                np.stack([uniforms(seed) for seed in seeds]),
                numbers,
                len(self),
                lambda chosen: self.shapes[chosen, 0],
                size,
                self.mosaic,
            )
        matrices = np.stack([fitted(tuple(self.shapes[n, 0].tolist()), size) for n in numbers])
        count = len(numbers)
        return Recipes(
            size=size,
            center=np.tile(np.array([size[1], size[0]]), (count, 1)),
            images=np.repeat(numbers[:, None], 4, axis=1),
            matrices=np.repeat(matrices[:, None], 4, axis=1),
            colors=np.full(count, -1),
        )

    def _objects(
        self, recipes: Recipes
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
        """Image, label and box of every object that is left."""
        spans = recipes.spans()
        shown = (spans[..., 0] < spans[..., 2]) & (spans[..., 1] < spans[..., 3])
        counts = np.where(shown, self._counts[recipes.images], 0).ravel()
        tile = np.repeat(np.arange(counts.size), counts)
        rank = np.arange(len(tile)) - np.repeat(counts.cumsum() - counts, counts)
        number = self._first[recipes.images.ravel()[tile]] + rank
        own = moved(self._boxes[number], recipes.matrices.reshape(-1, 2, 3)[tile])
        boxes, kept = cut(own, spans.reshape(-1, 4)[tile])
        return tile[kept] // TILES, self._labels[number[kept]], boxes

    def _rendered(self, recipes: Recipes) -> Tensor:
        """uint8 (B, C, H, W), its channels last in memory."""
        height, width = recipes.size
        levels = nearest_levels(recipes.matrices)
        shapes = self.shapes[recipes.images, levels]
        ratio = shapes / self.shapes[recipes.images, 0]
        inverse = _inverse(recipes.matrices) * ratio[..., ::-1, None]
        # All that a pixel needs to know of its tile, in one transfer.
        tiles = np.concatenate((inverse.reshape(*levels.shape, 6), shapes), axis=-1)
        told = np.concatenate((tiles.reshape(len(recipes), -1), recipes.center), axis=1)
        on_device = to_device(torch.from_numpy(told.astype(np.float32)), self.device)
        starts = to_device(torch.from_numpy(self.starts[recipes.images, levels]), self.device)
        own, center = on_device[:, :-2].reshape(len(recipes), 4, 8), on_device[:, -2:]
        x = torch.arange(width, device=self.device) + 0.5  # (W,)
        y = torch.arange(height, device=self.device)[:, None] + 0.5  # (H, 1)
        right, below = x > center[:, :1, None], y > center[:, 1:, None]  # (B, 1, W), (B, H, 1)
        tile = right.long() + 2 * below.long()  # (B, H, W)
        each = torch.arange(len(recipes), device=self.device)[:, None, None]
        a, b, c, d, e, f, rows, columns = own[each, tile].unbind(dim=-1)
        found = self._sampled(
            a * x + b * y + c - 0.5, d * x + e * y + f - 0.5, rows, columns, starts[each, tile]
        )
        if (shifts := _color_shifts(recipes.colors, self.pixels.shape[1])) is not None:
            chosen = to_device(torch.from_numpy(np.flatnonzero(shifts.any(axis=1))), self.device)
            wanted = to_device(torch.from_numpy(shifts), self.device)[chosen]
            found.index_copy_(0, chosen, _recolored(found[chosen], wanted))
        return found.round_().clamp_(0, 255).to(torch.uint8).permute(0, 3, 1, 2)

    def _sampled(
        self, x: Tensor, y: Tensor, rows: Tensor, columns: Tensor, start: Tensor
    ) -> Tensor:
        """Bilinear, float32 (B, H, W, C): images begin at `start`, and gray lies around them."""
        x, y = x.clamp_(min=-1).minimum(columns), y.clamp_(min=-1).minimum(rows)
        left, top = x.floor(), y.floor()
        across, down = (x - left)[..., None], (y - top)[..., None]
        stride = columns.long() + BORDER
        place = start + (top.long() + 1) * stride + left.long() + 1
        upper, lower = (
            torch.lerp(self.pixels[at].float(), self.pixels[at + 1].float(), across)
            for at in (place, place + stride)
        )
        return torch.lerp(upper, lower, down)


def _levels_of(path: Path, *, channels: int, longest: int) -> tuple[Image, ...]:
    """An image and its smaller copies."""
    return levels_of(shrunk(read_image(path, channels), longest))


def _inverse(matrices: NDArray[np.float64]) -> NDArray[np.float64]:
    """From pixels of a sample to those of an image; of an empty tile, anything."""
    linear = matrices[..., :2]
    empty = np.abs(np.linalg.det(linear)) < 1e-12
    linear = np.where(empty[..., None, None], np.eye(2), linear)
    back = np.linalg.inv(linear)
    return np.concatenate((back, -back @ matrices[..., 2:]), axis=-1)


def _color_shifts(seeds: NDArray[np.int64], channels: int) -> NDArray[np.float32] | None:
    """Shifts (B, 3) of hue (in 180), saturation and value (in 255); None where none is wanted."""
    if (seeds < 0).all():
        return None
    draws = np.stack([np.random.default_rng(seed).random(4) for seed in seeds.tolist()])
    limits = np.array([HUE, SATURATION, VALUE]) * (1 if channels == 3 else np.array([0, 0, 1]))
    shifts: NDArray[np.float32] = ((2 * draws[:, 1:] - 1) * limits).astype(np.float32)
    return shifts * (draws[:, :1] < RECOLORED)


def _recolored(images: Tensor, shifts: Tensor) -> Tensor:
    """Images (B, H, W, C) in 0 to 255, hue, saturation and value shifted by (B, 3)."""
    hue, saturation, value = (shift[:, None, None] for shift in shifts.unbind(dim=1))
    if images.shape[-1] == 1:
        return images + value[..., None]
    brightest, darkest = images.amax(dim=-1), images.amin(dim=-1)
    spread = brightest - darkest
    red, green, blue = images.unbind(dim=-1)
    safe = spread.clamp(min=1e-6)
    # In sixths of the circle, as G. Joblove and D. Greenberg, "Color spaces", 1978, have it.
    around = torch.where(
        brightest == red,
        (green - blue) / safe,
        torch.where(brightest == green, 2 + (blue - red) / safe, 4 + (red - green) / safe),
    )
    around = torch.where(spread > 0, around, 0.0) + hue / 30
    share = 255 * spread / brightest.clamp(min=1e-6)
    # What is gray has no hue that could become stronger.
    share = torch.where(share > 0, share + saturation, share).clamp(0, 255) / 255
    light = (brightest + value).clamp(0, 255)
    planes = []
    for offset in (5, 3, 1):
        k = (offset + around) % 6
        planes.append(light * (1 - share * torch.minimum(k, 4 - k).clamp(0, 1)))
    return torch.stack(planes, dim=-1)
