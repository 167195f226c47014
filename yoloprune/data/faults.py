"""Which objects of an image can be used, and what is wrong with the others."""

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from yoloprune.data.dataset import Fault, Finding, RawDataset, RawImage, Remark
from yoloprune.data.text_files import MOST_CLASSES

TOLERANCE = 1e-3
"""How far a box may leave the image without a word, for rounding; what lies outside is cut off."""

_CONSEQUENCES = {
    Fault.NO_LABELS: "images have no label file and are taken to show no objects",
    Fault.MALFORMED: "images are ignored: their annotation cannot be read",
    Fault.UNKNOWN_CLASS: "objects are ignored: their class has no name",
    Fault.NO_AREA: "boxes without an area inside the image are ignored",
    Fault.OUTSIDE: "boxes leave the image and are clipped",
    Fault.UNUSABLE: "images are ignored: none of their objects can be used",
    Fault.IGNORED: "images have crowds or difficult objects, which are ignored",
    Fault.POLYGON: "images have polygons, which are taken as their bounding boxes",
}
"""What a reader makes of a fault."""


class Tally:
    """Counts faults by kind, with the first place of each."""

    def __init__(self) -> None:
        self._remarks: dict[Fault, Remark] = {}

    def add(self, findings: Iterable[Finding]) -> None:
        """Count further findings."""
        for finding in findings:
            before = self._remarks.get(finding.fault)
            self._remarks[finding.fault] = Remark(
                fault=finding.fault,
                count=1 if before is None else before.count + 1,
                first=finding if before is None else before.first,
            )

    def count(self, fault: Fault) -> int:
        """How often a fault was met."""
        return self._remarks[fault].count if fault in self._remarks else 0

    def first(self, fault: Fault) -> Finding:
        """Where a fault was met first; it must have been."""
        return self._remarks[fault].first

    def remarks(self) -> tuple[Remark, ...]:
        """All that was counted, in the order of `Fault`."""
        return tuple(self._remarks[fault] for fault in Fault if fault in self._remarks)


def used_classes(raw: RawDataset) -> int:
    """One more than the highest class id in the labels that is no damage; 0 without any."""
    found = [image.labels for images in raw.splits.values() for image in images]
    labels = np.concatenate([np.zeros(0, np.int64), *found])
    return int(labels[(labels >= 0) & (labels < MOST_CLASSES)].max(initial=-1)) + 1


def described(remark: Remark) -> str:
    """One line about a fault: how often, what was made of it, and the first place."""
    what = _CONSEQUENCES.get(remark.fault, remark.fault.value)
    return f"{remark.count} {what} (first: {remark.first.where}: {remark.first.text})"


def unlabeled_text(source: Path, count: int, images: int, first: Finding) -> str:
    """Why data of which most images have no label file is not used without a word."""
    return (
        f"{source}: {count} of the {images} images have no label file (first: {first.where}: "
        f"{first.text}): if they show no objects, give them empty files; `allow_faulty` "
        "accepts them as they are"
    )


def annotation_findings(image: RawImage) -> list[Finding]:
    """What is to be said of an image's annotation as a whole."""
    found = [finding(Fault.MALFORMED, problem) for problem in image.problems]
    if image.source is None and not image.problems:
        text = "no label file" + (f", looked for {image.sought}" if image.sought else "")
        found.append(Finding(fault=Fault.NO_LABELS, where=str(image.path), text=text))
    for fault, count in ((Fault.IGNORED, image.ignored), (Fault.POLYGON, image.polygons)):
        if count:
            text = f"{count} beside {len(image.labels)} objects"
            if fault is Fault.POLYGON:
                text = f"{count} of {len(image.labels)} objects"
            found.append(Finding(fault=fault, where=str(image.path), text=text))
    return found


def sound_objects(
    image: RawImage, classes: int
) -> tuple[NDArray[np.float64], NDArray[np.int64], list[str], list[Finding]]:
    """Boxes (N, 4) as relative left, top, right, bottom, labels and places (N,), and all faults.

    Boxes that leave the image are clipped. Those of a class that is not one of the `classes`, or
    without an area inside the image, are left out. An image that has objects, but none that can be
    used, is `Fault.UNUSABLE`: it is no image without objects.
    """
    findings: list[Finding] = []

    def note(faulty: NDArray[np.bool_], fault: Fault, describe: Callable[[int], str]) -> None:
        for index in np.flatnonzero(faulty).tolist():
            where = image.places[index]
            findings.append(Finding(fault=fault, where=where, text=describe(index)))

    unknown = (image.labels < 0) | (image.labels >= classes)
    note(unknown, Fault.UNKNOWN_CLASS, lambda index: f"class {image.labels[index]}")
    boxes = clip_relative(image.boxes)
    # Nothing is three times as wide as its image: such numbers are no shares of it.
    flat = ~has_area(boxes) | ((image.boxes < -1) | (image.boxes > 2)).any(axis=1)
    leaving = ((image.boxes < -TOLERANCE) | (image.boxes > 1 + TOLERANCE)).any(axis=1)
    note(flat, Fault.NO_AREA, lambda index: box_text(image.boxes[index]))
    note(leaving & ~flat, Fault.OUTSIDE, lambda index: box_text(image.boxes[index]))
    kept = ~unknown & ~flat
    if len(kept) and not kept.any():
        text = f"none of {len(kept)} objects can be used"
        findings.append(Finding(fault=Fault.UNUSABLE, where=str(image.path), text=text))
    places = [image.places[index] for index in np.flatnonzero(kept).tolist()]
    return boxes[kept], image.labels[kept], places, findings


def box_text(box: NDArray[np.float64]) -> str:
    """A relative box in words."""
    return "left {:.4g}, top {:.4g}, right {:.4g}, bottom {:.4g}".format(*box)


def clip_relative(boxes: NDArray[np.float64]) -> NDArray[np.float64]:  # (N, 4) -> (N, 4)
    """Cut relative left, top, right, bottom boxes at the image's borders."""
    return np.asarray(np.clip(boxes, 0.0, 1.0), np.float64)


def has_area(boxes: NDArray[np.float64]) -> NDArray[np.bool_]:  # (N, 4) -> (N,)
    """Which left, top, right, bottom boxes have a width and a height."""
    return np.asarray((boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1]))


def sound_boxes(image: RawImage) -> NDArray[np.float64]:  # -> (N, 4)
    """The boxes that have an area inside the image, clipped, as relative corners."""
    boxes = clip_relative(image.boxes)
    return boxes[has_area(boxes)]


def repeated(boxes: NDArray[np.float64], labels: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which of N boxes are written earlier already, with the same class.

    Boxes are the same if all sides agree to 1e-4 of the image; sides that differ by more than 2e-4
    never do. Linear in N: boxes are sorted into cells of twice that size, in all 16 ways to shift
    them by half a cell, in one of which two such boxes share a cell.
    """
    found = np.zeros(len(boxes), np.bool_)
    if len(boxes) < 2:
        return found
    for shift in np.ndindex(2, 2, 2, 2):
        cells = np.floor(boxes / 2e-4 + np.array(shift) / 2)
        _, first, inverse = np.unique(
            np.column_stack((labels, cells)), axis=0, return_index=True, return_inverse=True
        )
        found |= first[inverse.reshape(-1)] != np.arange(len(boxes))
    return found


def finding(fault: Fault, message: str) -> Finding:
    """A fault from a message "where: what"."""
    where, _, text = message.partition(": ")
    return Finding(fault=fault, where=where, text=text)
