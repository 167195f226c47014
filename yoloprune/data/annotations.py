"""Annotations as their files have them, faults included: what all formats are read into first.

`read_dataset` makes a `Dataset` of them and refuses faults; `yoloprune data check` counts them.
"""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from yoloprune.data.dataset import EVALUATION_SPLITS, Dataset, LabelledImage, RawDataset, RawImage
from yoloprune.errors import DatasetError


def choose_split(splits: Iterable[str], split: str | None, source: Path) -> str:
    """The split asked for, or the one for evaluation, or the only one.

    Raises `DatasetError` if there is no such split, or several to choose from.
    """
    known = sorted(splits)
    if split is None:
        if (
            chosen := next((name for name in EVALUATION_SPLITS if name in known), None)
        ) is not None:
            return chosen
        if len(known) == 1:
            return known[0]
        raise DatasetError(f"{source}: choose one of its splits: {', '.join(known) or 'none'}")
    if split not in known:
        raise DatasetError(
            f"{source}: has no split {split!r} (splits: {', '.join(known) or 'none'})"
        )
    return split


def strict_dataset(
    raw: RawDataset, *, classes: int, split: str | None, limit: int | None
) -> Dataset:
    """One split of a data set for a network with this many classes.

    Boxes are clipped to the image, as those of VOC and COCO may leave it. Raises `DatasetError` for
    the first fault: an image that is missing, an annotation that makes no sense, a box without area
    inside the image, or another number of classes.
    """
    if raw.problems:
        raise DatasetError(raw.problems[0])
    names = raw.names or ()
    if len(names) != classes:
        shown = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
        raise DatasetError(
            f"{raw.path}: {len(names)} classes ({shown or 'none'}), but the network has {classes} "
            "(a .names file in the data set's folder, one name a line, says which there are)"
        )
    images = raw.splits[choose_split(raw.splits, split, raw.path)][:limit]
    if not images:
        raise DatasetError(f"{raw.path}: no images found")
    return Dataset(images=tuple(map(_strict_image, images)), names=names, unlabelled=0)


def clip_relative(boxes: NDArray[np.float64]) -> NDArray[np.float64]:  # (N, 4) -> (N, 4)
    """Cut relative left, top, right, bottom boxes at the image's borders."""
    return np.asarray(np.clip(boxes, 0.0, 1.0), np.float64)


def has_area(boxes: NDArray[np.float64]) -> NDArray[np.bool_]:  # (N, 4) -> (N,)
    """Which left, top, right, bottom boxes have a width and a height."""
    return np.asarray((boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1]))


def corners_to_centres(boxes: NDArray[np.float64]) -> NDArray[np.float64]:  # (N, 4) -> (N, 4)
    """Left, top, right, bottom to centre x, centre y, width, height."""
    low, high = boxes[:, :2], boxes[:, 2:]
    return np.concatenate(((low + high) / 2, high - low), axis=1)


def sound_boxes(image: RawImage) -> NDArray[np.float64]:  # -> (N, 4)
    """The boxes that have an area inside the image, clipped, as relative centre and size."""
    boxes = clip_relative(image.boxes)
    return corners_to_centres(boxes[has_area(boxes)])


def _strict_image(image: RawImage) -> LabelledImage:
    if image.problems:
        raise DatasetError(image.problems[0])
    if not image.path.is_file():
        raise DatasetError(f"{image.source}: image {image.path} not found")
    boxes = clip_relative(image.boxes)
    if not (good := has_area(boxes)).all():
        place = image.places[int(np.argmin(good))]
        raise DatasetError(
            f"{place}: the box has no area inside the image "
            "(`yoloprune data check --fix` writes a copy without such boxes)"
        )
    return LabelledImage(path=image.path, boxes=corners_to_centres(boxes), labels=image.labels)
