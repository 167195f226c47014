"""What is wrong with a labeled data set, and a copy without it."""

import hashlib
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from yoloprune.data.dataset import WHOLE, Fault, Finding, LabeledImage, RawDataset, RawImage
from yoloprune.data.faults import (
    annotation_findings,
    box_text,
    finding,
    repeated,
    sound_objects,
    unlabeled_text,
    used_classes,
)
from yoloprune.data.formats.darknet import write_data_file
from yoloprune.data.formats.ultralytics import write_data_yaml
from yoloprune.data.formats.yolo_labels import write_labels
from yoloprune.data.images import MOST_BYTES
from yoloprune.data.inspection import image_size
from yoloprune.data.text_files import default_names
from yoloprune.errors import DatasetError, FaultyDataError
from yoloprune.files import read_file, shortened, write_folder
from yoloprune.reporter import SILENT, Reporter

_LONGEST_STEM = 200
"""Bytes of the copy's name that its .data file and .names file have in theirs."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CheckedImage:
    """An image that can be used: its sound objects, and its (height, width) in pixels."""

    labeled: LabeledImage
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


def check_dataset(raw: RawDataset, *, reporter: Reporter = SILENT) -> Check:
    """Decode every image, look at every box, and sort out what can be used.

    Boxes that leave the image are clipped; those of an unknown class, without area or written twice
    are left out. So are images that are missing or damaged, whose annotation cannot be read whole,
    or of whose objects none can be used. An image annotated for another size is kept: boxes are
    relative.
    """
    findings = [finding(Fault.MALFORMED, problem) for problem in raw.problems]
    names = raw.names
    if names is None:
        names = default_names(max(1, used_classes(raw)))
    splits: dict[str, tuple[CheckedImage, ...]] = {}
    seen: dict[bytes, tuple[str, Path]] = {}
    for split, images in raw.splits.items():
        usable = []
        for image in reporter.track(images, "checking"):
            size = _opened(image, split, seen, findings)
            labeled = None if size is None else _usable(image, len(names), findings)
            if size is not None and labeled is not None:
                usable.append(CheckedImage(labeled=labeled, size=size))
        splits[split] = tuple(usable)
    return Check(
        names=names,
        splits=splits,
        listed={split: len(images) for split, images in raw.splits.items()},
        findings=tuple(findings),
    )


def refuse_unlabeled(check: Check, source: Path, *, most: bool) -> None:
    """Raise `DatasetError` where no image has a label file, or with `most` not even half of them.

    Then the data is most likely in another layout than it was read in.
    """
    missing = [found for found in check.findings if found.fault is Fault.NO_LABELS]
    listed = sum(check.listed.values())
    if missing and len(missing) == listed:
        raise DatasetError(
            f"{source}: none of the {listed} images has a label file ({missing[0].text})"
        )
    if most and 2 * len(missing) > listed:
        raise FaultyDataError(unlabeled_text(source, len(missing), listed, missing[0]))


def write_clean_copy(check: Check, out: Path, name: str) -> None:
    """Write the usable part as YOLO text, which darknet, Ultralytics and this package read.

    `out` gets images/<split>, labels/<split>, `name`.data with its lists and names, and data.yaml.
    A data set without splits becomes one of training images. Images are copied as they are and keep
    their names, but for characters that lists cannot hold; one that is taken gets a further number.
    Raises `UsageError` if `out` is not free, `DatasetError` if nothing can be used.
    """
    if not check.images:
        raise DatasetError("no image can be used: there is nothing to write")
    names = [" ".join(printable(name).split()) or "_" for name in check.names]
    with write_folder(out, must_be_new=True) as root:
        lists: dict[str, list[Path]] = {}
        for split, images in check.splits.items():
            if images:
                taken = "train" if split == WHOLE else file_name(split)
                while taken in lists:
                    taken += "_"
                lists[taken] = _write_split(root, taken, images)
        write_data_file(root, shortened(file_name(name), _LONGEST_STEM), names, lists)
        write_data_yaml(root, names, list(lists))


def printable(text: str) -> str:
    """A text without characters that break lines, steer terminals or are in no encoding."""
    return "".join(c if c.isprintable() else " " for c in text.encode(errors="replace").decode())


def file_name(text: str) -> str:
    """A name that lists, .data files, shells and terminals take as it is."""
    return re.sub(r"[^\w.+()@=-]", "_", printable(text)).strip("._") or "_"


def _write_split(root: Path, split: str, images: Sequence[CheckedImage]) -> list[Path]:
    written: dict[str, Path] = {}
    for folder in ("images", "labels"):
        (root / folder / split).mkdir(parents=True)
    for image in images:
        source = image.labeled.path
        own, number = _stem(source), 2
        stem = own
        while stem.lower() in written:
            stem, number = f"{own}-{number}", number + 1
        target = root / "images" / split / f"{stem}{source.suffix}"
        shutil.copyfile(source, target)
        write_labels(
            root / "labels" / split / f"{stem}.txt", image.labeled.boxes, image.labeled.labels
        )
        written[stem.lower()] = target
    return list(written.values())


def _stem(source: Path) -> str:
    """The file's own name where a line of a list can hold it, blanks included."""
    own = source.stem
    plain = printable(own) == own and own == own.strip() and "#" not in own
    # 255 bytes is the longest name; a further number and a suffix belong to it.
    return own if plain and len(own.encode()) < 240 else file_name(own)[:60]


def _opened(
    image: RawImage, split: str, seen: dict[bytes, tuple[str, Path]], findings: list[Finding]
) -> tuple[int, int] | None:
    """The (height, width) of an image that can be used; None if it cannot."""
    try:
        data = read_file(image.path, MOST_BYTES)
    except OSError as error:
        text = str(error.strerror)
        findings.append(Finding(fault=Fault.MISSING_IMAGE, where=str(image.path), text=text))
        return None
    try:
        size = image_size(data, image.path)
    except DatasetError as error:
        findings.append(finding(Fault.CORRUPT_IMAGE, str(error)))
        return None
    first_split, first = seen.setdefault(hashlib.sha256(data).digest(), (split, image.path))
    if first_split != split:
        text = f"the same file as {first} of {first_split}"
        findings.append(Finding(fault=Fault.REPEATED_IMAGE, where=str(image.path), text=text))
    if image.size is not None and image.size != size:
        text = f"annotated as {image.size[1]}x{image.size[0]}, but is {size[1]}x{size[0]}"
        findings.append(Finding(fault=Fault.WRONG_SIZE, where=str(image.path), text=text))
    return size


def _usable(image: RawImage, classes: int, findings: list[Finding]) -> LabeledImage | None:
    """The image with what is left in order; None if that is not all that it shows."""
    findings += annotation_findings(image)
    boxes, labels, places, faults = sound_objects(image, classes)
    findings += faults
    twice = repeated(boxes, labels)
    findings += [
        Finding(fault=Fault.DUPLICATE, where=places[index], text=box_text(boxes[index]))
        for index in np.flatnonzero(twice).tolist()
    ]
    boxes, labels = boxes[~twice], labels[~twice]
    if image.problems or any(found.fault is Fault.UNUSABLE for found in faults):
        return None
    return LabeledImage(path=image.path, boxes=boxes, labels=labels)
