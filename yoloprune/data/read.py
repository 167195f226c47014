"""Which format a labelled data set is in."""

from pathlib import Path

from yoloprune.data.annotations import strict_dataset
from yoloprune.data.coco_json import coco_files, read_coco
from yoloprune.data.dataset import Dataset, RawDataset
from yoloprune.data.labels import (
    default_names,
    folder_images,
    folder_names,
    labelled_images,
    read_names,
    split_images,
)
from yoloprune.data.voc import is_voc, read_voc
from yoloprune.data.yolo_text import read_yolo_text
from yoloprune.errors import DatasetError


def is_voc_or_coco(path: Path) -> bool:
    """Whether a path is Pascal VOC or COCO, and not YOLO text."""
    return path.suffix.lower() == ".json" or is_voc(path) or bool(coco_files(path))


def read_raw(path: Path, images: Path | None = None, split: str | None = None) -> RawDataset:
    """Read a data set of any format as written, faults included.

    `path` is a COCO .json file or the folder above `annotations/*.json`, a folder with
    `Annotations/*.xml` (Pascal VOC), a darknet .data file, or a folder of YOLO text. `images` is
    where the images of COCO or VOC are, if not in the usual places. With `split`, others may be
    left unread. Raises `DatasetError` if there is no such thing, or no image in it.
    """
    if is_voc(path):
        raw = read_voc(path, images)
    elif coco_files(path):
        raw = read_coco(path, images, split)
    elif path.is_dir() or (path.is_file() and path.suffix == ".data"):
        raw = read_yolo_text(path)
    else:
        raise DatasetError(f"{path}: neither a folder, nor a darknet .data or COCO .json file")
    if not any(raw.splits.values()):
        raise DatasetError(f"{path}: no images found")
    return raw


def read_voc_or_coco(
    path: Path, *, classes: int, split: str | None, limit: int | None, images: Path | None
) -> Dataset:
    """Read one split of a Pascal VOC or COCO data set; `read_dataset` says what this raises."""
    raw = read_raw(path, images, split)
    return strict_dataset(raw, classes=classes, split=split, limit=limit)


def read_dataset(
    path: Path,
    *,
    classes: int,
    split: str | None = None,
    limit: int | None = None,
    images: Path | None = None,
) -> Dataset:
    """Read a labelled data set for a network with this many classes.

    `path` is a darknet .data file or a folder with `images/<split>` and `labels/<split>`,
    `<split>/images` and `<split>/labels`, `images` and `labels`, or images with label files beside
    them; or else Pascal VOC (a folder with `Annotations`) or COCO (a .json file, or the folder
    above `annotations`), with `images` where their images are, if not in the usual places. Without
    `split` it is the one for evaluation: `valid` of a .data file; `test`, `val` or `valid` of a
    folder, else all its images. `limit` takes only the first images.

    A missing label file means that there are no objects. Raises `DatasetError` where anything else
    is missing or malformed, and if no image has a label file.
    """
    if is_voc_or_coco(path):
        return read_voc_or_coco(path, classes=classes, split=split, limit=limit, images=images)
    if path.is_dir():
        paths = folder_images(path, split)
        names_file = folder_names(path)
    elif path.is_file() and path.suffix == ".data":
        paths, names_file = split_images(path, split, classes)
    else:
        raise DatasetError(f"{path}: neither a folder nor a darknet .data or COCO .json file")
    names = read_names(names_file, classes) if names_file else default_names(classes)
    return labelled_images(path, paths[:limit], names)
