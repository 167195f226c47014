"""Batches for training, in an order and with augmentations that a seed fixes completely.

The order of an epoch and each sample's augmentation are functions of (seed, epoch, place in the
epoch). So a run can go on in the middle of an epoch, and any number of loader processes or training
processes sees the same samples.
"""

from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, fields
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from yoloprune.data.augment import Sample, augmented_sample, plain_sample
from yoloprune.data.dataset import Dataset
from yoloprune.data.images import Image, read_image
from yoloprune.data.levels import levels_of
from yoloprune.data.workers import made_in_order
from yoloprune.reporter import SILENT, Reporter

CACHE_BYTES = 3 << 30
"""Decoded images are kept in memory as long as they take less than this, and their smaller copies,
which take a third more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleKey:
    """One sample to make: which image, where in which epoch, at which size (height, width)."""

    index: int
    epoch: int
    place: int
    size: tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Batch:
    """B samples: `images` (B, C, H, W) uint8; their M objects as in `training.assign.Objects`."""

    images: Tensor
    image: Tensor
    label: Tensor
    boxes: Tensor


class TrainingImages:
    """Makes samples from keys; decoded images are cached in memory while they fit.

    `channels` are those of the images: 3 for RGB, 1 for gray.
    A key whose image, or one of whose mosaic's images, cannot be read raises `DatasetError`.
    """

    def __init__(
        self, dataset: Dataset, *, augment: bool, mosaic: float, seed: int, channels: int = 3
    ) -> None:
        self.dataset = dataset
        self.channels = channels
        self.augment = augment
        self.mosaic = mosaic
        self.seed = seed
        self._cache: dict[int, tuple[Image, ...]] = {}
        self._cached_bytes = 0

    def fill_cache(self) -> None:
        """Decode images until one does not fit, so that loader processes share them.

        Raises `DatasetError` if one of them cannot be read.
        """
        for index in range(len(self)):
            self._image(index)
            if index not in self._cache:
                return

    def __len__(self) -> int:
        return len(self.dataset.images)

    def __getitem__(self, key: SampleKey) -> Sample:
        if not self.augment:
            return plain_sample(self._labeled(key.index), key.size)
        return augmented_sample(
            self._labeled,
            key.index,
            len(self),
            key.size,
            self.mosaic,
            (self.seed, key.epoch, key.place),
        )

    def _labeled(self, index: int) -> Sample:
        labeled, (image, *smaller) = self.dataset.images[index], self._image(index)
        height, width = image.shape[:2]
        boxes = (labeled.boxes * [width, height, width, height]).astype(np.float32)
        return Sample(image=image, boxes=boxes, labels=labeled.labels, smaller=tuple(smaller))

    def _image(self, index: int) -> tuple[Image, ...]:
        """An image and its smaller copies."""
        found = self._cache.get(index)
        if found is None:
            image = read_image(self.dataset.images[index].path, self.channels)
            found = levels_of(image)
            if self._cached_bytes + image.nbytes <= CACHE_BYTES:
                self._cache[index] = found
                self._cached_bytes += image.nbytes
        return found


def epoch_order(count: int, *, seed: int, epoch: int) -> NDArray[np.int64]:
    """The order in which an epoch goes through `count` images."""
    return np.random.default_rng((seed, epoch)).permutation(count)


def step_size(
    base: tuple[int, int], multi_scale: float, *, seed: int, epoch: int, step: int
) -> tuple[int, int]:
    """Input size (height, width) of a step: multiples of 32, the longer within `multi_scale`.

    The shorter side follows it, so that the base's aspect ratio stays as nearly as multiples allow.
    """
    if not multi_scale:
        return base
    longer = max(base)
    low = max(1, round(longer * (1 - multi_scale) / 32))
    high = round(longer * (1 + multi_scale) / 32)
    drawn = int(np.random.default_rng((seed, epoch, step, 1)).integers(low, high + 1))
    height, width = (32 * max(1, round(side * drawn / longer)) for side in base)
    return height, width


def batch_places(
    count: int,
    *,
    batch_size: int,
    parts: int,
    own_parts: range,
    epoch: int,
    first_step: int,
    base_size: tuple[int, int],
    multi_scale: float,
    seed: int,
) -> Iterator[tuple[range, tuple[int, int]]]:
    """The places in an epoch of `count` images of each micro-batch, and its size (height, width).

    See `micro_batches`.
    """
    share = batch_size // parts
    for step in range(first_step, count // batch_size):
        size = step_size(base_size, multi_scale, seed=seed, epoch=epoch, step=step)
        for part in own_parts:
            first = step * batch_size + part * share
            yield range(first, first + share), size


def micro_batches(
    images: TrainingImages,
    *,
    batch_size: int,
    parts: int,
    own_parts: range,
    epoch: int,
    first_step: int,
    base_size: tuple[int, int],
    multi_scale: float,
    workers: int,
    reporter: Reporter = SILENT,
) -> Generator[Batch, None, None]:
    """This process's micro-batches of an epoch from `first_step` on, `len(own_parts)` a step.

    A step's `batch_size` images are cut into `parts` micro-batches, of which this process makes
    those that `own_parts` names. The last images of an epoch that fill no step are left out.
    torch's global random state stays as it is. Raises `DatasetError` where an image cannot be read,
    and `RunError` where a loader process dies.
    """
    order = epoch_order(len(images), seed=images.seed, epoch=epoch)
    keys = [
        [SampleKey(index=int(order[p]), epoch=epoch, place=p, size=size) for p in places]
        for places, size in batch_places(
            len(images),
            batch_size=batch_size,
            parts=parts,
            own_parts=own_parts,
            epoch=epoch,
            first_step=first_step,
            base_size=base_size,
            multi_scale=multi_scale,
            seed=images.seed,
        )
    ]
    make = partial(_arrays, images, keys)
    with closing(made_in_order(make, len(keys), workers=workers, reporter=reporter)) as made:
        for arrays in made:
            yield Batch(**{name: torch.from_numpy(array) for name, array in arrays.items()})


def _arrays(
    images: TrainingImages, keys: Sequence[Sequence[SampleKey]], place: int
) -> dict[str, NDArray[Any]]:
    """The fields of a batch, as processes can send them to each other."""
    batch = collate([images[key] for key in keys[place]])
    return {field.name: getattr(batch, field.name).numpy() for field in fields(batch)}


def collate(samples: list[Sample]) -> Batch:
    """Stack samples of one size into a batch."""
    images = torch.from_numpy(np.stack([sample.image for sample in samples]))
    counts = torch.tensor([len(sample.labels) for sample in samples])
    return Batch(
        images=images.permute(0, 3, 1, 2).contiguous(),
        image=torch.arange(len(samples)).repeat_interleave(counts),
        label=torch.from_numpy(np.concatenate([sample.labels for sample in samples])),
        boxes=torch.from_numpy(np.concatenate([sample.boxes for sample in samples])),
    )
