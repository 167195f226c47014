"""Setting images aside, to choose networks and settings by without looking at the test images."""

import math
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

import numpy as np

from yoloprune.data.dataset import Dataset
from yoloprune.data.read import read_dataset
from yoloprune.errors import DatasetError

TRAINING_SPLIT = "train"

BLOCK = 16
"""Images are held out in runs of this many, for neighbours are often frames of one film."""


def hold_out(dataset: Dataset, share: float, *, seed: int = 0) -> tuple[Dataset, Dataset]:
    """Split a data set into (training, validation), the latter with about `share` of the images.

    Whole runs of consecutive images are held out, so that near-duplicates rarely stand on both
    sides; which ones, only the seed decides. Raises `DatasetError` unless 0 < share < 1 and both
    sides have images with objects.
    """
    if not 0 < share < 1:
        raise DatasetError(f"the share of images to hold out must be in (0, 1), not {share:g}")
    count = len(dataset.images)
    # A small set is cut into at least some twenty runs.
    block = max(1, min(BLOCK, count // 20))
    runs = math.ceil(count / block)
    held = max(1, round(share * runs))
    chosen = np.isin(
        np.arange(count) // block, np.random.default_rng(seed).permutation(runs)[:held]
    )
    validation = tuple(image for image, out in zip(dataset.images, chosen, strict=True) if out)
    training = tuple(image for image, out in zip(dataset.images, chosen, strict=True) if not out)
    parts = (replace(dataset, images=training), replace(dataset, images=validation))
    if not all(part.object_count for part in parts):
        raise DatasetError(
            f"holding out {share:g} of {count} images leaves one side without objects"
        )
    return parts


def training_parts(
    path: Path,
    *,
    classes: int,
    splits: Collection[str],
    share: float,
    training: str | None = None,
    validation: str | None = None,
) -> tuple[Dataset, Dataset]:
    """The (training, validation) images of a data set that has these `splits`.

    Trained on is the split `training`, without a name `train`, or the only one if a share of it is
    held out. Validation images are that `share` or, where it is 0, the split `validation`, without
    a name the one for evaluation. Raises `DatasetError` for both a share and a validation split,
    and where there is no such split.
    """
    if share and validation is not None:
        raise DatasetError(
            f"validation images are the split {validation!r} or a share of the training images "
            "that is held out, not both"
        )
    if training is None and (TRAINING_SPLIT in splits or len(splits) > 1):
        training = TRAINING_SPLIT
    if training is None and not share:
        raise DatasetError(
            f"{path}: has no split {TRAINING_SPLIT!r}: hold out a share of its images for "
            "validation, or make a copy with splits by `yoloprune data split`"
        )
    found = read_dataset(path, classes=classes, split=training)
    if share:
        return hold_out(found, share)
    return found, read_dataset(path, classes=classes, split=validation)
