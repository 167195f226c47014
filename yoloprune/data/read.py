"""The door to labeled data sets of any format.

Each format reads a path into a `RawDataset`, faults included. `read_dataset` makes of it what a
network is trained and judged on, and refuses what it must not guess; `check.py` lists all faults.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from yoloprune.data.dataset import Dataset, Fault, LabeledImage, RawDataset, RawImage
from yoloprune.data.faults import (
    Tally,
    annotation_findings,
    finding,
    sound_objects,
    unlabeled_text,
)
from yoloprune.data.formats import coco, darknet, ultralytics, voc, yolo
from yoloprune.data.formats.yolo_labels import read_labeled
from yoloprune.data.images import list_images, refuse_root
from yoloprune.data.request import Request, canonical
from yoloprune.data.text_files import MOST_CLASSES, default_names, is_file, shown_names
from yoloprune.errors import ClassesError, DatasetError, FaultyDataError


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """How a format is told from others, and read."""

    name: str
    recognizes: Callable[[Path], bool]
    read: Callable[[Path, Request], RawDataset]


FORMATS = (
    Format(name="data.yaml", recognizes=ultralytics.recognizes, read=ultralytics.read),
    Format(name="Pascal VOC", recognizes=voc.recognizes, read=voc.read),
    Format(name="COCO", recognizes=coco.recognizes, read=coco.read),
    Format(name="darknet", recognizes=darknet.recognizes, read=darknet.read),
    Format(name="YOLO text", recognizes=yolo.recognizes, read=yolo.read),
)
"""The first that recognizes a path reads it."""


def read_raw(path: Path, images: Path | None = None, split: str | None = None) -> RawDataset:
    """Read a data set of any format as written, faults included.

    `path` is a data.yaml, a COCO .json or a darknet .data file, or a folder: with one of these, of
    Pascal VOC, or of YOLO text. `images` is where the images of COCO or VOC are, if not in the
    usual places. Without `split`, all splits are read. Raises `DatasetError` if there is no such
    thing, or no image in it.
    """
    return _read(path, Request(images=images, split=split))


def read_dataset(
    path: Path,
    *,
    classes: int,
    known: Sequence[str] | None = None,
    split: str | None = None,
    limit: int | None = None,
    images: Path | None = None,
    allow_faulty: bool = False,
) -> Dataset:
    """Read one split of a labeled data set for a network with this many classes.

    `known` are their names, if it has any: of a data set of more classes, those among them, the
    objects of these are read, and others are none.

    `path` is what `read_raw` takes. Without `split` it is the one for evaluation: `valid` of a
    .data file; else test or val, by any usual name; or the only one. `limit` takes only the first
    images.

    Boxes that leave the image are clipped, those without area or of a class without a name ignored,
    and images without a label file taken to show no objects; `remarks` count all that. Raises
    `DatasetError` for an image that is missing, an annotation that cannot be read, another number
    of classes, and where most images have no label file, or most objects no class. With
    `allow_faulty`, images with unreadable annotations are left out instead, and any number may be
    without a label file, but not all.
    """
    request = Request(images=images, split=split, one=True, limit=limit)
    raw = of_classes(_read(path, request), known)
    names = raw.names if raw.names is not None else default_names(classes)
    if len(names) != classes:
        fault = (
            f"{path}: {len(names)} classes ({shown_names(names)}), but the network has {classes}"
        )
        if known is None and len(names) > classes:
            fault += (
                "; if they are among these, name them, one a line, in a .names file beside its cfg"
            )
        raise ClassesError(fault)
    ((name, read_images),) = raw.splits.items()
    return replace(_strict(raw, read_images, names, allow_faulty=allow_faulty), split=name)


def of_classes(raw: RawDataset, known: Sequence[str] | None) -> RawDataset:
    """The objects of the classes that are known, of a data set that has these and more.

    Another data set is given back as it is.
    """
    names = raw.names
    if names is None or known is None or len(names) <= len(known) or not set(known) <= {*names}:
        return raw
    if len({*names}) < len(names) or len({*known}) < len(known):
        return raw
    new = np.full(len(names), -1)
    new[[names.index(name) for name in known]] = np.arange(len(known))

    def narrowed(image: RawImage) -> RawImage:
        # Labels that name no class stay, to be counted.
        within = (image.labels >= 0) & (image.labels < len(names))
        labels = np.where(within, new[np.where(within, image.labels, 0)], image.labels)
        kept = ~within | (labels >= 0)
        return replace(
            image,
            boxes=image.boxes[kept],
            labels=labels[kept],
            places=tuple(place for place, own in zip(image.places, kept, strict=True) if own),
        )

    splits = {
        split: tuple(narrowed(image) for image in images) for split, images in raw.splits.items()
    }
    return replace(raw, names=tuple(known), splits=splits)


def read_objects(image: Path, classes: int) -> LabeledImage | None:
    """The objects that a label file gives an image, None if there is no such file.

    Raises `DatasetError` if a line of it cannot be read, or its class is not one of the `classes`.
    """
    raw = read_labeled(image)
    if raw.source is None:
        return None
    if raw.problems:
        raise DatasetError(raw.problems[0])
    boxes, labels, _, findings = sound_objects(raw, classes)
    for found in findings:
        if found.fault is Fault.UNKNOWN_CLASS:
            raise DatasetError(f"{found.where}: {found.text} is not one of the {classes} classes")
    return LabeledImage(path=image, boxes=boxes, labels=labels)


def dataset_images(source: Path) -> tuple[Path, ...]:
    """The images of a data set's training split, or of a folder, .txt list or single image.

    Labels are not looked at. A data set without a training split gives all its images. Raises
    `DatasetError` if there are none, or a listed one does not exist.
    """
    if source.suffix.lower() not in (".data", ".yaml", ".yml", ".json") or not source.is_file():
        return list_images(source)
    splits = _read(source, Request()).splits
    training = [images for split, images in splits.items() if canonical(split) == "train"]
    images = [image for split in training or splits.values() for image in split]
    for image in images:
        if not is_file(image.path):
            raise DatasetError(f"{source}: image {image.path} not found")
    return tuple(dict.fromkeys(image.path for image in images))


def _read(path: Path, request: Request) -> RawDataset:
    for known in FORMATS:
        try:
            refuse_root(path)
            if not known.recognizes(path):
                continue
        except (OSError, ValueError) as error:
            raise DatasetError(f"{str(path)!r}: cannot be read: {error}") from None
        raw = known.read(path, request)
        if raw.names is not None and len(raw.names) > MOST_CLASSES:
            raise DatasetError(f"{path}: {len(raw.names)} classes: assumed damaged")
        if not any(raw.splits.values()):
            raise DatasetError(f"{path}: no images found")
        return raw
    raise DatasetError(
        f"{path}: neither a folder, nor a data.yaml, darknet .data or COCO .json file"
    )


def _strict(
    raw: RawDataset, images: Sequence[RawImage], names: tuple[str, ...], *, allow_faulty: bool
) -> Dataset:
    tally = Tally()
    tally.add(finding(Fault.MALFORMED, problem) for problem in raw.problems)
    usable = []
    objects = 0
    for image in images:
        tally.add(annotation_findings(image))
        if image.problems:
            continue
        if not is_file(image.path):
            raise DatasetError(f"{image.source or raw.path}: image {image.path} not found")
        boxes, labels, _, findings = sound_objects(image, len(names))
        tally.add(findings)
        objects += len(image.labels)
        if any(found.fault is Fault.UNUSABLE for found in findings):
            continue
        usable.append(LabeledImage(path=image.path, boxes=boxes, labels=labels))
    if not allow_faulty:
        _refuse_unreadable(tally, len(images) - len(usable), len(images))
    _refuse_unlabeled(raw.path, tally, len(images), allow_most=allow_faulty)
    _refuse_unknown_classes(raw, tally, objects, len(names))
    _refuse_empty_boxes(tally, objects)
    if not usable:
        raise DatasetError(f"{raw.path}: none of the {len(images)} images can be used")
    return Dataset(images=tuple(usable), names=names, remarks=tally.remarks())


def _refuse_unreadable(tally: Tally, left_out: int, images: int) -> None:
    if not tally.count(Fault.MALFORMED):
        return
    first = tally.first(Fault.MALFORMED)
    raise FaultyDataError(
        f"{first.where}: {first.text} ({left_out} of {images} images have faulty annotations; "
        "`yoloprune data check` lists them): `allow_faulty` uses the rest"
    )


def _refuse_unlabeled(path: Path, tally: Tally, images: int, *, allow_most: bool) -> None:
    count = tally.count(Fault.NO_LABELS)
    if count == images:
        first = tally.first(Fault.NO_LABELS)
        raise DatasetError(f"{path}: none of the {images} images has a label file ({first.text})")
    if 2 * count > images and not allow_most:
        raise FaultyDataError(unlabeled_text(path, count, images, tally.first(Fault.NO_LABELS)))


def _refuse_unknown_classes(raw: RawDataset, tally: Tally, objects: int, classes: int) -> None:
    count = tally.count(Fault.UNKNOWN_CLASS)
    if not count or (raw.names is not None and 2 * count <= objects):
        return
    first = tally.first(Fault.UNKNOWN_CLASS)
    raise DatasetError(
        f"{first.where}: {first.text} is not one of the {classes} classes (0 to {classes - 1}), "
        f"as {count} of {objects} objects"
    )


def _refuse_empty_boxes(tally: Tally, objects: int) -> None:
    count = tally.count(Fault.NO_AREA)
    if 2 * count > objects:
        first = tally.first(Fault.NO_AREA)
        raise DatasetError(
            f"{first.where}: {count} of {objects} boxes have no area inside the image, the first "
            f"with {first.text} (coordinates are relative, 0 to 1)"
        )
