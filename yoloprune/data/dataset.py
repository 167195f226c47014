"""A labeled data set: as its files have it, and as networks are trained and judged on it."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

WHOLE = "all"
"""Name of the only split of a data set that has none."""


class Fault(StrEnum):
    """What can be wrong or worth a word, in the order of reports."""

    MISSING_IMAGE = "missing image"
    CORRUPT_IMAGE = "corrupt image"
    REPEATED_IMAGE = "image in two splits"
    WRONG_SIZE = "annotated for another image size"
    NO_LABELS = "no label file"
    MALFORMED = "malformed annotation"
    UNKNOWN_CLASS = "class without a name"
    NO_AREA = "box without area inside the image"
    OUTSIDE = "box leaves the image"
    DUPLICATE = "box twice"
    UNUSABLE = "image without one usable object"
    IGNORED = "crowd or difficult object"
    POLYGON = "polygon, taken as its bounding box"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One fault: where (file, line), and what was found there."""

    fault: Fault
    where: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RawImage:
    """An image that may be missing, and its N objects as written, which may be faulty.

    `boxes` (N, 4) float64 are left, top, right, bottom relative to the image, not clipped;
    `labels` (N,) int64 may name no class; `places` (N) say where each object is written.
    `source` is the file that lists the objects, None if there is none; `sought` then says where it
    was looked for. `size` is the (height, width) that the annotation claims. `problems` are parts
    of the annotation that make no sense. `polygons` counts objects given by their outline,
    `ignored` what is none of the N: crowds and difficult objects.
    """

    path: Path
    source: Path | None
    boxes: NDArray[np.float64]
    labels: NDArray[np.int64]
    places: tuple[str, ...]
    size: tuple[int, int] | None = None
    problems: tuple[str, ...] = ()
    polygons: int = 0
    ignored: int = 0
    sought: str = ""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RawDataset:
    """Splits of a data set as written; `names` is None where the classes have no names.

    `problems` are those of no image in particular.
    """

    path: Path
    names: tuple[str, ...] | None
    splits: Mapping[str, tuple[RawImage, ...]]
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LabeledImage:
    """An image file and its N objects.

    `boxes` (N, 4) float64 xyxy relative to the image, all inside it, `labels` (N,) int64.
    """

    path: Path
    boxes: NDArray[np.float64]
    labels: NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Remark:
    """How often a fault was met while reading, and the first place where."""

    fault: Fault
    count: int
    first: Finding


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Dataset:
    """Labeled images of a split, the names of the classes, and what was odd about them.

    Images whose annotation could not be read whole, or holds no usable object though it holds some,
    are not among `images`: `remarks` count them.
    """

    images: tuple[LabeledImage, ...]
    names: tuple[str, ...]
    remarks: tuple[Remark, ...] = ()
    split: str = WHOLE

    @property
    def object_count(self) -> int:
        """Objects in all images."""
        return sum(len(image.labels) for image in self.images)

    @property
    def unlabeled(self) -> int:
        """Images that nobody has labeled, which are taken to show no objects."""
        return sum(r.count for r in self.remarks if r.fault is Fault.NO_LABELS)
