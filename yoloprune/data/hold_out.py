"""Setting images aside, to choose networks and settings by without looking at the test images."""

import math
from dataclasses import replace

import numpy as np

from yoloprune.data.dataset import Dataset
from yoloprune.errors import DatasetError

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
