"""The VGG Hand data set: from its original form to YOLO text.

The original has three parts (training, validation, test), each with `images/*.jpg` and
`annotations/*.mat`. In a .mat file `boxes` is a 1xN cell array of structs with the fields a, b, c,
d: the corners (y, x) of a rotated rectangle around a hand, counted from 1. The label is the
upright box around the four corners, cut at the image's borders.

Source: A. Mittal, A. Zisserman and P. Torr, "Hand detection using multiple proposals", 2011.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from yoloprune.data.archives import is_tar, unpack_tar
from yoloprune.data.formats.darknet import write_data_file
from yoloprune.data.formats.yolo_labels import write_labels
from yoloprune.data.images import is_image, read_image_file
from yoloprune.data.inspection import image_size, unturned
from yoloprune.data.mat_files import MOST_BYTES, Value, read_mat
from yoloprune.errors import DatasetError
from yoloprune.files import (
    LONGEST_NAME,
    naming_errors,
    read_file,
    temporary_folder,
    write_folder,
)
from yoloprune.reporter import SILENT, Reporter

PARTS = {
    "training": Path("training_dataset", "training_data"),
    "validation": Path("validation_dataset", "validation_data"),
    "test": Path("test_dataset", "test_data"),
}
"""Folder of each part below `hand_dataset`."""

SPLITS = {"train": ("training", "validation"), "test": ("test",)}
"""Which parts make up each split, as in the case study."""

EXPECTED = {"train images": 4807, "test images": 821, "hands": 13050}
"""What the full data set has."""

SMALLEST_SIDE = 1.0
"""Boxes of which less than this many pixels in width or height lie in the image are dropped."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversion:
    """What was written, and what was not.

    `images` and `hands` count each split's; `negatives` are images without hands. `clipped` boxes
    left the image, `dropped` ones had nothing in it. `skipped` has a line for each image or
    annotation that could not be used, `absent` the parts that were not there.
    """

    images: Mapping[str, int]
    hands: Mapping[str, int]
    negatives: int
    clipped: int
    dropped: int
    skipped: tuple[str, ...]
    absent: tuple[str, ...]

    @property
    def found(self) -> dict[str, int]:
        """The numbers that `EXPECTED` has of the full data set."""
        return {
            "train images": self.images["train"],
            "test images": self.images["test"],
            "hands": sum(self.hands.values()),
        }


def warnings_of(conversion: Conversion) -> list[str]:
    """What is wrong with an original: files skipped, parts absent, not all of the full data set."""
    found = [f"{line}: skipped" for line in conversion.skipped]
    found += [f"the {part} part ({PARTS[part]}) is not there" for part in conversion.absent]
    if conversion.found != EXPECTED:
        found.append("the numbers differ from those of the full data set: this is not all of it")
    return found


def is_original(source: Path) -> bool:
    """Whether a path is an archive, or a folder with a part of the original data set in it."""
    if source.is_file():
        return is_tar(source)
    return any((root / part).is_dir() for root in _roots(source) for part in PARTS.values())


@contextmanager
def opened_original(source: Path, work: Path) -> Iterator[Path]:
    """The folder `hand_dataset` of an unpacked original or of its archive.

    An archive is unpacked into a temporary folder in `work`. Raises `DatasetError` if there is no
    such source, no part of the data set in it, or the archive is damaged or unsafe.
    """
    if source.is_dir():
        yield _root(source)
        return
    if not source.is_file():
        raise DatasetError(f"{source}: no such file or folder")
    with temporary_folder(work, "unpacked") as temporary:
        with naming_errors(work, temporary):
            unpack_tar(source, temporary)
        yield _root(temporary, source)


def convert_hand_dataset(root: Path, out: Path, *, reporter: Reporter = SILENT) -> Conversion:
    """Write the original in `root` (the folder `hand_dataset`) as YOLO text into the folder `out`.

    Training and validation become the split train. Names begin with their part, since they repeat
    between parts. An image without hands gets an empty label file. What is missing or damaged is
    left out and named. Raises `UsageError` if `out` is
    not free, `DatasetError` if no image can be used.
    """
    tally = _Tally()
    with write_folder(out, must_be_new=True) as folder:
        lists = {split: _write_split(root, folder, split, tally, reporter) for split in SPLITS}
        if not any(lists.values()):
            raise DatasetError(
                f"{root}: no image with a readable annotation"
                + (f"; first: {tally.skipped[0]}" if tally.skipped else "")
            )
        write_data_file(folder, "hand", ["hand"], {k: v for k, v in lists.items() if v})
    return Conversion(
        images={split: len(images) for split, images in lists.items()},
        hands=tally.hands,
        negatives=tally.negatives,
        clipped=tally.clipped,
        dropped=tally.dropped,
        skipped=tuple(tally.skipped),
        absent=tuple(part for part, folder in PARTS.items() if not (root / folder).is_dir()),
    )


def read_hand_corners(path: Path) -> NDArray[np.float64]:  # -> (N, 4, 2)
    """Read the corners a, b, c, d as (x, y), counted from 0, of the hands in a .mat file.

    Raises `DatasetError` if the file is damaged or has another structure.
    """
    try:
        variables = read_mat(read_file(path, MOST_BYTES))
        if "boxes" not in variables:
            raise ValueError("it has no variable 'boxes'")
        corners = [[_point(hand, key) for key in "abcd"] for hand in _hands(variables["boxes"])]
    except OSError as error:
        raise DatasetError(f"{path}: cannot read the file: {error.strerror}") from error
    except ValueError as problem:
        raise DatasetError(f"{path}: not a .mat file with hands, or damaged: {problem}") from None
    return np.array(corners, np.float64).reshape(-1, 4, 2)[..., ::-1] - 1


def upright_boxes(corners: NDArray[np.float64]) -> NDArray[np.float64]:  # (N, 4, 2) -> (N, 4)
    """The left, top, right, bottom boxes around quadrangles."""
    return np.concatenate((corners.min(axis=1), corners.max(axis=1)), axis=1)


class _Tally:
    """Counts while the parts are written."""

    def __init__(self) -> None:
        self.hands = dict.fromkeys(SPLITS, 0)
        self.negatives = self.clipped = self.dropped = 0
        self.skipped: list[str] = []


def _roots(folder: Path) -> tuple[Path, Path]:
    return folder, folder / "hand_dataset"


def _root(folder: Path, source: Path | None = None) -> Path:
    for root in _roots(folder):
        if any((root / part).is_dir() for part in PARTS.values()):
            return root
    raise DatasetError(
        f"{source or folder}: not the original hand_dataset: there is no {PARTS['training']}, "
        f"{PARTS['validation']} or {PARTS['test']} in it"
    )


def _write_split(
    root: Path, out: Path, split: str, tally: _Tally, reporter: Reporter
) -> list[Path]:
    written: dict[str, Path] = {}
    for folder in ("images", "labels"):
        (out / folder / split).mkdir(parents=True)
    for part in SPLITS[split]:
        original = root / PARTS[part]
        images = sorted(filter(is_image, (original / "images").glob("*")))
        stems = {image.stem for image in images}
        for annotation in sorted((original / "annotations").glob("*.mat")):
            if annotation.stem not in stems and not annotation.name.startswith("."):
                tally.skipped.append(f"{annotation}: its image is missing")
        for image in reporter.track(images, "converting"):
            name = f"{part}_{image.stem}"
            target = out / "images" / split / f"{name}{image.suffix}"
            try:
                if name in written:
                    raise DatasetError(f"{image}: there is another image of this name")
                if len(os.fsencode(target.name)) > LONGEST_NAME:
                    raise DatasetError(f"{image}: the name is too long to put {part}_ before it")
                data, boxes = _read_pair(image, original / "annotations", tally)
            except DatasetError as error:
                tally.skipped.append(str(error))
                continue
            target.write_bytes(data)
            labels = np.zeros(len(boxes), np.int64)
            write_labels(out / "labels" / split / f"{name}.txt", boxes, labels)
            tally.hands[split] += len(boxes)
            tally.negatives += not len(boxes)
            written[name] = target
    return list(written.values())


def _read_pair(image: Path, annotations: Path, tally: _Tally) -> tuple[bytes, NDArray[np.float64]]:
    """An image file and its boxes (N, 4) as relative center and size."""
    annotation = annotations / f"{image.stem}.mat"
    if not annotation.is_file():
        raise DatasetError(f"{image}: its annotation {annotation.name} is missing")
    # MATLAB, in which the corners were drawn, shows images as they are stored.
    data = unturned(read_image_file(image))
    height, width = image_size(data, image)
    boxes = upright_boxes(read_hand_corners(annotation))
    extent = (width, height, width, height)
    clipped = np.clip(boxes, 0, extent)
    visible = (clipped[:, 2:] - clipped[:, :2] >= SMALLEST_SIDE).all(axis=1)
    tally.dropped += int((~visible).sum())
    tally.clipped += int((visible & (clipped != boxes).any(axis=1)).sum())
    return data, clipped[visible] / extent


def _hands(boxes: Value) -> list[dict[str, Value]]:
    """The structs in the cells of `boxes`."""
    if isinstance(boxes, np.ndarray) and boxes.size == 0:
        return []
    if not isinstance(boxes, tuple):
        raise ValueError("'boxes' is not a cell array")
    hands = []
    for cell in boxes:
        if not isinstance(cell, list) or len(cell) != 1:
            raise ValueError("a cell of 'boxes' does not hold one struct")
        hands.append(cell[0])
    return hands


def _point(hand: dict[str, Value], key: str) -> tuple[float, float]:
    """One corner (y, x)."""
    corner = hand.get(key)
    if not isinstance(corner, np.ndarray) or corner.size != 2:
        raise ValueError(f"corner {key} is not two numbers")
    y, x = (float(value) for value in corner.ravel())
    if not abs(y) + abs(x) < 1e6:
        raise ValueError(f"corner {key} is ({y:g}, {x:g})")
    return y, x
