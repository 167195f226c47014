"""What is wrong with a labelled data set, and a copy without it."""

import hashlib
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from yoloprune.data.annotations import clip_relative, corners_to_centres, has_area
from yoloprune.data.dataset import LabelledImage, RawDataset, RawImage
from yoloprune.data.folders import new_folder
from yoloprune.data.inspection import image_size
from yoloprune.data.labels import TOLERANCE, default_names
from yoloprune.data.yolo_text import write_data_file, write_labels
from yoloprune.errors import DatasetError

Progress: TypeAlias = Callable[[Sequence[RawImage]], Iterable[RawImage]]

_SAME_BOX = 1e-4
"""Boxes of one class that differ by less than this share of the image are one box twice."""


class Fault(StrEnum):
    """What can be wrong, in the order of the report."""

    MISSING_IMAGE = "missing image"
    CORRUPT_IMAGE = "corrupt image"
    REPEATED_IMAGE = "image in two splits"
    WRONG_SIZE = "annotated for another image size"
    NO_LABELS = "no label file"
    MALFORMED = "malformed annotation"
    UNKNOWN_CLASS = "class without a name"
    NO_AREA = "box without area"
    OUTSIDE = "box leaves the image"
    DUPLICATE = "box twice"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One fault: where (file, line), and what was found there."""

    fault: Fault
    where: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CheckedImage:
    """An image that can be used: its sound objects, and its (height, width) in pixels."""

    labelled: LabelledImage
    size: tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Check:
    """The usable part of each split, and all that is wrong.

    `listed` counts the images of each split before. `names` are made up where there were none.
    """

    names: tuple[str, ...]
    splits: Mapping[str, tuple[CheckedImage, ...]]
    listed: Mapping[str, int]
    findings: tuple[Finding, ...]

    @property
    def images(self) -> tuple[CheckedImage, ...]:
        """The usable images of all splits."""
        return tuple(image for images in self.splits.values() for image in images)


def check_dataset(raw: RawDataset, *, progress: Progress = iter) -> Check:
    """Decode every image, look at every box, and sort out what can be used.

    Boxes that leave the image are clipped; those of an unknown class, without area or written twice
    are left out, as are images that are missing or damaged. An image annotated for another size is
    kept: boxes are relative. `progress` wraps the images of each split.
    """
    findings = [_finding(Fault.MALFORMED, problem) for problem in raw.problems]
    splits: dict[str, tuple[CheckedImage, ...]] = {}
    seen: dict[bytes, tuple[str, Path]] = {}
    for split, images in raw.splits.items():
        usable = []
        for image in progress(images):
            opened = _opened(image, split, seen, findings)
            if opened is None:
                continue
            boxes, labels = _sound_objects(image, raw.names, findings)
            labelled = LabelledImage(path=image.path, boxes=boxes, labels=labels)
            usable.append(CheckedImage(labelled=labelled, size=opened))
        splits[split] = tuple(usable)
    highest = max((int(i.labels.max()) for s in raw.splits.values() for i in s if len(i.labels)),
                  default=0)  # fmt: skip
    return Check(
        names=raw.names or default_names(max(highest, 0) + 1),
        splits=splits,
        listed={split: len(images) for split, images in raw.splits.items()},
        findings=tuple(findings),
    )


def write_clean_copy(check: Check, out: Path, name: str) -> None:
    """Write the usable part as YOLO text: images/<split>, labels/<split>, `name`.data, lists.

    Images are copied as they are and keep their names; one that is taken gets a further number.
    Raises `DatasetError` if `out` is not free, or nothing can be used.
    """
    if not check.images:
        raise DatasetError("no image can be used: there is nothing to write")
    with new_folder(out) as root:
        lists = {}
        for split, images in check.splits.items():
            if images:
                lists[split] = _write_split(root, split, images)
        write_data_file(root, name, check.names, lists)


def _write_split(root: Path, split: str, images: Sequence[CheckedImage]) -> list[Path]:
    written: dict[str, Path] = {}
    for folder in ("images", "labels"):
        (root / folder / split).mkdir(parents=True)
    for image in images:
        source = image.labelled.path
        stem, number = source.stem, 2
        while stem.lower() in written:
            stem, number = f"{source.stem}-{number}", number + 1
        target = root / "images" / split / f"{stem}{source.suffix}"
        shutil.copyfile(source, target)
        write_labels(
            root / "labels" / split / f"{stem}.txt", image.labelled.boxes, image.labelled.labels
        )
        written[stem.lower()] = target
    return list(written.values())


def _opened(
    image: RawImage, split: str, seen: dict[bytes, tuple[str, Path]], findings: list[Finding]
) -> tuple[int, int] | None:
    """The (height, width) of an image that can be used; None if it cannot."""
    try:
        data = image.path.read_bytes()
    except OSError as error:
        text = str(error.strerror)
        findings.append(Finding(fault=Fault.MISSING_IMAGE, where=str(image.path), text=text))
        return None
    try:
        size = image_size(data, image.path)
    except DatasetError as error:
        findings.append(_finding(Fault.CORRUPT_IMAGE, str(error)))
        return None
    first_split, first = seen.setdefault(hashlib.sha256(data).digest(), (split, image.path))
    if first_split != split:
        text = f"the same file as {first} of {first_split}"
        findings.append(Finding(fault=Fault.REPEATED_IMAGE, where=str(image.path), text=text))
    if image.size is not None and image.size != size:
        text = f"annotated as {image.size[1]}x{image.size[0]}, but is {size[1]}x{size[0]}"
        findings.append(Finding(fault=Fault.WRONG_SIZE, where=str(image.path), text=text))
    return size


def _sound_objects(
    image: RawImage, names: tuple[str, ...] | None, findings: list[Finding]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Boxes (N, 4) as relative centre and size, and labels (N,), of what is left in order."""
    findings += [_finding(Fault.MALFORMED, problem) for problem in image.problems]
    if image.source is None and not image.problems:
        text = "taken to show no objects"
        findings.append(Finding(fault=Fault.NO_LABELS, where=str(image.path), text=text))
    boxes, kept = clip_relative(image.boxes), np.ones(len(image.labels), np.bool_)

    def note(faulty: NDArray[np.bool_], fault: Fault, describe: Callable[[int], str]) -> None:
        for index in np.flatnonzero(faulty):
            text = describe(int(index))
            findings.append(Finding(fault=fault, where=image.places[index], text=text))

    def box_text(index: int) -> str:
        return "left {:.4g}, top {:.4g}, right {:.4g}, bottom {:.4g}".format(*image.boxes[index])

    unknown = image.labels < 0
    if names is not None:
        unknown |= image.labels >= len(names)
    note(unknown, Fault.UNKNOWN_CLASS, lambda index: f"class {image.labels[index]}")
    leaving = ((image.boxes < -TOLERANCE) | (image.boxes > 1 + TOLERANCE)).any(axis=1)
    flat = ~has_area(image.boxes)
    note(flat, Fault.NO_AREA, box_text)
    note(leaving & ~flat, Fault.OUTSIDE, box_text)
    kept &= ~unknown & has_area(boxes)
    repeated = _repeated(boxes, image.labels) & kept
    note(repeated, Fault.DUPLICATE, box_text)
    kept &= ~repeated
    return corners_to_centres(boxes[kept]), image.labels[kept]


def _repeated(boxes: NDArray[np.float64], labels: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which boxes are written earlier already, with the same class."""
    repeated = np.zeros(len(boxes), np.bool_)
    for index in range(1, len(boxes)):
        near = np.abs(boxes[:index] - boxes[index]).max(axis=1) < _SAME_BOX
        repeated[index] = bool((near & (labels[:index] == labels[index])).any())
    return repeated


def _finding(fault: Fault, message: str) -> Finding:
    """A fault from a message "where: what"."""
    where, _, text = message.partition(": ")
    return Finding(fault=fault, where=where, text=text)
