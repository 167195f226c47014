"""Which format a labelled data set is in."""

from pathlib import Path

from yoloprune.datasets.annotations import RawDataset, strict_dataset
from yoloprune.datasets.coco_json import coco_files, read_coco
from yoloprune.datasets.labels import Dataset
from yoloprune.datasets.voc import is_voc, read_voc
from yoloprune.datasets.yolo_text import read_yolo_text
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
