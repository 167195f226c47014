"""Label files of YOLO text: `class cx cy width height` a line, relative to the image's size.

As in darknet, a label file has the image's path with `images` or `JPEGImages` read as `labels`, and
the suffix .txt; or else it lies beside the image. A line with three or more points instead of a box
is an outline, of which the bounding box counts, as in Ultralytics' reader.
"""

import math
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from yoloprune.data.dataset import RawImage
from yoloprune.data.text_files import read_lines
from yoloprune.errors import DatasetError

_FOLDERS = (("images", "labels"), ("JPEGImages", "labels"), ("raw", "labels"))
"""What darknet replaces in the path of an image."""

_SUFFIXES = (".txt", ".TXT")
_MOST_BYTES = 8 << 20
_MOST_LINES = 20_000


def label_path(image: Path) -> Path | None:
    """Where the objects of an image are written down, or None if nowhere.

    Whatever has the name counts, a broken link too: then it cannot be read, and is not passed over.
    """
    return next((path for path in label_candidates(image) if os.path.lexists(path)), None)


def label_candidates(image: Path) -> Iterator[Path]:
    """Where the label file of an image may be, in the order of looking."""
    parts = image.parts
    for position in range(len(parts) - 2, -1, -1):
        for images, labels in _FOLDERS:
            # darknet replaces the word wherever it stands: train_images becomes train_labels.
            if images in parts[position]:
                name = parts[position].replace(images, labels)
                path = Path(*parts[:position], name, *parts[position + 1 :])
                yield from (path.with_suffix(suffix) for suffix in _SUFFIXES)
                break
    yield from (image.with_suffix(suffix) for suffix in _SUFFIXES)


def read_labeled(image: Path, *, keypoints: bool = False) -> RawImage:
    """An image and its objects as written; lines that make no sense become problems.

    With `keypoints` the columns behind the box are points of a pose, and not read.
    """
    file = label_path(image)
    if file is None:
        return unlabeled(image)
    labels: list[int] = []
    boxes: list[list[float]] = []
    places, problems = [], []
    lines: list[str] = []
    polygons = 0
    try:
        lines = read_lines(file, _MOST_BYTES)
        if len(lines) > _MOST_LINES:
            raise DatasetError(f"{file}: {len(lines)} lines: assumed damaged")
    except DatasetError as error:
        problems.append(str(error))
    for number, line in enumerate(lines, start=1):
        if not (words := line.split()):
            continue
        try:
            if len(words) > _MOST_LINES:
                raise ValueError(f"{len(words)} columns: assumed damaged")
            label, numbers = _parsed(words)
            outline = len(numbers) >= 6 and not keypoints
            box = _bounding_box(numbers) if outline else _box(numbers, keypoints)
        except ValueError as problem:
            problems.append(f"{file}:{number}: {problem}")
            continue
        polygons += outline
        labels.append(label)
        boxes.append(box)
        places.append(f"{file}:{number}")
    return RawImage(
        path=image,
        source=file,
        boxes=np.array(boxes, np.float64).reshape(-1, 4),
        labels=np.array(labels, np.int64),
        places=tuple(places),
        problems=tuple(problems),
        polygons=polygons,
    )


def unlabeled(image: Path, problems: Sequence[str] = (), source: Path | None = None) -> RawImage:
    """An image of which no object is known."""
    likeliest, beside = next(label_candidates(image)), image.with_suffix(".txt")
    sought = " or ".join(dict.fromkeys((str(likeliest), str(beside))))
    return RawImage(
        path=image,
        source=source,
        boxes=np.zeros((0, 4), np.float64),
        labels=np.zeros(0, np.int64),
        places=(),
        problems=tuple(problems),
        sought=sought,
    )


def write_labels(path: Path, boxes: NDArray[np.float64], labels: NDArray[np.int64]) -> None:
    """Write a label file: `boxes` (N, 4) relative corners, `labels` (N,)."""
    lines = (
        f"{label} {' '.join(f'{value:.6f}' for value in box)}\n"
        for label, box in zip(labels.tolist(), corners_to_centers(boxes).tolist(), strict=True)
    )
    path.write_text("".join(lines), encoding="utf-8")


def corners_to_centers(boxes: NDArray[np.float64]) -> NDArray[np.float64]:  # (N, 4) -> (N, 4)
    """Left, top, right, bottom to center x, center y, width, height."""
    low, high = boxes[:, :2], boxes[:, 2:]
    return np.concatenate(((low + high) / 2, high - low), axis=1)


def _parsed(words: list[str]) -> tuple[int, list[float]]:
    """Class and numbers of a line."""
    try:
        # Python also takes 1_6 and digits of other scripts.
        if any("_" in word or not word.isascii() for word in words):
            raise ValueError
        label, *numbers = map(float, words)
    except ValueError:
        text = " ".join(words)[:80]
        raise ValueError(f"{text!r} is not a class and numbers") from None
    if not all(map(math.isfinite, (label, *numbers))):
        raise ValueError(f"{' '.join(words)[:80]!r} is not finite")
    # numpy.savetxt writes the class as 0.0 or 0.000e+00.
    if label != int(label) or abs(label) > 1 << 31:
        raise ValueError(f"class {words[0][:40]!r} is not an integer")
    if max(map(abs, numbers), default=0.0) > 1e9:
        raise ValueError(f"{' '.join(words)[:80]!r} is out of range")
    return int(label), numbers


def _box(numbers: list[float], keypoints: bool) -> list[float]:
    if len(numbers) != 4 and not (keypoints and len(numbers) > 4):
        raise ValueError(f"expected 5 columns (class cx cy width height), found {len(numbers) + 1}")
    cx, cy, width, height = numbers[:4]
    return [cx - width / 2, cy - height / 2, cx + width / 2, cy + height / 2]


def _bounding_box(numbers: list[float]) -> list[float]:
    if len(numbers) % 2:
        raise ValueError(
            f"expected 5 columns (class cx cy width height) or a class and points, "
            f"found {len(numbers) + 1} columns"
        )
    x, y = numbers[::2], numbers[1::2]
    return [min(x), min(y), max(x), max(y)]
