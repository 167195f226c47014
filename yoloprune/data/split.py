"""Setting images aside, to choose networks and settings by without looking at the test images."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from yoloprune.data.check import Check
from yoloprune.data.dataset import Dataset
from yoloprune.data.images import read_image
from yoloprune.data.near_duplicates import NEAR, near_duplicate_groups, perceptual_hash
from yoloprune.data.read import read_dataset
from yoloprune.data.request import canonical
from yoloprune.errors import DatasetError, UsageError
from yoloprune.reporter import SILENT, Reporter

TRAINING_SPLIT, VALIDATION_SPLIT = "train", "val"

BLOCK = 16
"""Images are held out in runs of this many, for neighbors are often frames of one film."""


def hold_out(dataset: Dataset, share: float, *, seed: int = 0) -> tuple[Dataset, Dataset]:
    """Split a data set into (training, validation), the latter with about `share` of the images.

    Whole runs of consecutive images are held out, so that near-duplicates rarely stand on both
    sides; which ones, only the seed decides. Raises `UsageError` unless 0 < share < 1,
    `DatasetError` unless both sides have images with objects.
    """
    if not 0 < share < 1:
        raise UsageError(f"the fraction of images to hold out must be in (0, 1), not {share:g}")
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
    known: Sequence[str] | None = None,
    splits: Collection[str],
    share: float,
    training: str | None = None,
    validation: str | None = None,
    allow_faulty: bool = False,
) -> tuple[Dataset, Dataset]:
    """The (training, validation) images of a data set that has these `splits`.

    Trained on is the split `training`, without a name `train`, or the only one. Validation images
    are that `share` or, where it is 0, the split `validation`, without a name `val`, else the one
    for evaluation or the only one. `known` and `allow_faulty` are those of `read_dataset`. Raises
    `UsageError` for both a share and a validation split, `DatasetError` where there is none such.
    """
    if share and validation is not None:
        raise UsageError(
            f"validation images are the split {validation!r} or a share of the training images "
            "that is held out, not both"
        )
    there = {canonical(name) for name in splits}
    if training is None and (TRAINING_SPLIT in there or len(there) > 1):
        training = TRAINING_SPLIT
    if training is None and there <= {VALIDATION_SPLIT, "test"} and not share:
        raise DatasetError(
            f"{path}: has no split {TRAINING_SPLIT!r} (splits: {', '.join(splits)}): name one to "
            "train on, or hold out a share of its images for validation"
        )
    read = partial(read_dataset, path, classes=classes, known=known, allow_faulty=allow_faulty)
    found = read(split=training)
    if share:
        return hold_out(found, share)
    # Nothing is to be chosen by test images where there are others.
    if validation is None and VALIDATION_SPLIT in there:
        validation = VALIDATION_SPLIT
    return found, read(split=validation)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Division:
    """The usable images of a data set in new splits, and the sizes of its near-duplicate groups.

    Images that are like no other are no group.
    """

    check: Check
    groups: tuple[int, ...]


def divide(
    check: Check,
    shares: Mapping[str, float],
    *,
    near: int = NEAR,
    seed: int = 0,
    reporter: Reporter = SILENT,
) -> Division:
    """Divide the usable images of all splits anew, near-duplicates never between two splits.

    `shares` of the images by split add up to 1; each split gets about its share of the images that
    show a class, too. Hashes of near-duplicates differ in at most `near` bits. Raises
    `UsageError` for other shares, `DatasetError` if a split would have no image.
    """
    if not all(0 < share < 1 for share in shares.values()) or abs(sum(shares.values()) - 1) > 1e-9:
        text = ", ".join(f"{name} {share:g}" for name, share in shares.items())
        raise UsageError(f"each fraction must be in (0, 1), and all add up to 1: not {text}")
    images = check.images
    hashes = [
        perceptual_hash(read_image(image.labeled.path))
        for image in reporter.track(images, "comparing")
    ]
    if not hashes:
        raise DatasetError("no image can be used: there is nothing to divide")
    groups = near_duplicate_groups(np.array(hashes), near)
    shown = np.zeros((len(images), len(check.names)), np.int64)
    for row, image in zip(shown, images, strict=True):
        row[image.labeled.labels] = 1
    part = stratify(groups, shown, list(shares.values()), seed=seed)
    sizes = np.bincount(groups)
    splits = {}
    for number, name in enumerate(shares):
        chosen = np.flatnonzero(part[groups] == number)
        if not len(chosen):
            few = f"{len(images)} images are too few for a split {name!r} of {shares[name]:g}"
            if sizes.max() > 1:
                few += (
                    f": {sizes.max()} of them, up to {near} bits apart, are near-duplicates that "
                    "stay together; fewer bits tell more of them apart"
                )
            raise DatasetError(few)
        splits[name] = tuple(images[index] for index in chosen)
    listed = {name: len(found) for name, found in splits.items()}
    return Division(
        check=replace(check, splits=splits, listed=listed),
        groups=tuple(sorted(sizes[sizes > 1].tolist(), reverse=True)),
    )


def stratify(
    groups: NDArray[np.int64], shown: NDArray[np.int64], shares: Sequence[float], *, seed: int = 0
) -> NDArray[np.int64]:  # (N,), (N, C), S shares -> (G,)
    """Which of S parts each of G groups of N images goes to, so that classes are shared evenly.

    `shown` is 1 where an image shows a class. The class that the fewest of the remaining images
    show is dealt out first, each group to the part that lacks most images of it, as long as that
    lacks images at all (after K. Sechidis et al., "On the Stratification of Multi-label Data",
    2011).
    """
    members = np.zeros((groups.max() + 1, 1 + shown.shape[1]))
    np.add.at(members, groups, np.column_stack([np.ones(len(groups)), shown]))
    lacking = np.outer(shares, members.sum(axis=0))
    order = np.random.default_rng(seed).permutation(len(members))
    # Large groups first: single images then make up for them.
    order = order[np.argsort(-members[order, 0], kind="stable")]
    part = np.full(len(members), -1)
    while (part < 0).any():
        remaining = members[part < 0].sum(axis=0)
        remaining[remaining == 0] = np.inf
        # All images, the first column, are the most: those without objects are left for the end.
        column = len(remaining) - 1 - int(np.argmin(remaining[::-1]))
        for group in order[(part[order] < 0) & (members[order, column] > 0)]:
            # Rare classes alone would fill the largest part with more images than its share.
            open_parts = [number for number, need in enumerate(lacking[:, 0]) if need > 0]
            # Of equal ones the part that lacks most images of any kind, then the first.
            part[group] = max(open_parts, key=lambda s: (lacking[s, column], lacking[s, 0]))
            lacking[part[group]] -= members[group]
    return part
