"""A labelled data set: as its files have it, and as networks are trained and judged on it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

EVALUATION_SPLITS = ("test", "val", "valid")
"""Where a folder is searched for images to evaluate on, before the folder itself."""

WHOLE = "all"
"""Name of the only split of a data set that has none."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LabelledImage:
    """An image file and its N objects.

    `boxes` (N, 4) float64 cxcywh relative to the image, `labels` (N,) int64.
    """

    path: Path
    boxes: NDArray[np.float64]
    labels: NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Dataset:
    """Labelled images, the names of the classes, and how many images have no label file."""

    images: tuple[LabelledImage, ...]
    names: tuple[str, ...]
    unlabelled: int

    @property
    def object_count(self) -> int:
        """Objects in all images."""
        return sum(len(image.labels) for image in self.images)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RawImage:
    """An image that may be missing, and its N objects as written, which may be faulty.

    `boxes` (N, 4) float64 are left, top, right, bottom relative to the image, not clipped;
    `labels` (N,) int64 may name no class; `places` (N) say where each object is written.
    `source` is the file that lists the objects, None if there is none. `size` is the (height,
    width) that the annotation claims. `problems` are parts of the annotation that make no sense.
    """

    path: Path
    source: Path | None
    boxes: NDArray[np.float64]
    labels: NDArray[np.int64]
    places: tuple[str, ...]
    size: tuple[int, int] | None = None
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RawDataset:
    """All splits of a data set as written; `names` is None where the classes have no names.

    `problems` are those of no image in particular.
    """

    path: Path
    names: tuple[str, ...] | None
    splits: Mapping[str, tuple[RawImage, ...]]
    problems: tuple[str, ...] = ()
