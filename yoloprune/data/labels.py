"""Labelled images in YOLO text form: in folders, or behind a darknet .data file.

A label file has a line `class cx cy width height` for each object, relative to the image's size.
As in darknet it has the image's path with `images` read as `labels` and the suffix .txt, or else it
lies beside the image.
"""

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from yoloprune.data.dataset import EVALUATION_SPLITS, Dataset, LabelledImage
from yoloprune.data.images import is_image, read_image_list, read_lines
from yoloprune.errors import DatasetError

TOLERANCE = 1e-3
"""How far a box may leave the image, for rounding; what lies outside is cut off."""


def default_names(classes: int) -> tuple[str, ...]:
    """Names for classes that nobody has named."""
    return tuple(f"class {index}" for index in range(classes))


def read_names(path: Path, classes: int) -> tuple[str, ...]:
    """Read a .names file, one name a line; raises `DatasetError` unless it has `classes` names."""
    names = tuple(name for line in read_lines(path) if (name := line.strip()))
    if len(names) != classes:
        raise DatasetError(f"{path}: {len(names)} names, but the network has {classes} classes")
    return names


def label_path(image: Path) -> Path | None:
    """Where the objects of an image are written down, or None if nowhere."""
    candidates = [image.with_suffix(".txt")]
    parts = image.parts
    if "images" in parts[:-1]:
        last = len(parts) - 2 - parts[-2::-1].index("images")
        swapped = Path(*parts[:last], "labels", *parts[last + 1 :]).with_suffix(".txt")
        candidates.insert(0, swapped)
    return next((path for path in candidates if path.is_file()), None)


def read_labels(path: Path, classes: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Boxes (N, 4) relative cxcywh and labels (N,) of a label file.

    Raises `DatasetError` naming file and line where a line is not `class cx cy width height`.
    """
    labels, boxes = [], []
    for number, line in enumerate(read_lines(path), start=1):
        if not line.strip():
            continue
        try:
            label, box = _object(line.split(), classes)
        except ValueError as problem:
            raise DatasetError(f"{path}:{number}: {problem}") from None
        labels.append(label)
        boxes.append(box)
    return np.array(boxes, np.float64).reshape(-1, 4), np.array(labels, np.int64)


def labelled_images(source: Path, paths: tuple[Path, ...], names: tuple[str, ...]) -> Dataset:
    """The objects of these images; raises what `read_dataset` says."""
    if not paths:
        raise DatasetError(f"{source}: no images found")
    images = []
    unlabelled = 0
    nothing = np.zeros((0, 4), np.float64), np.zeros(0, np.int64)
    for path in paths:
        file = label_path(path)
        unlabelled += file is None
        boxes, labels = nothing if file is None else read_labels(file, len(names))
        images.append(LabelledImage(path=path, boxes=boxes, labels=labels))
    if unlabelled == len(images):
        raise DatasetError(
            f"{source}: none of the {len(images)} images has a label file "
            f"(looked for {paths[0].with_suffix('.txt')}, and under labels/ for images/)"
        )
    return Dataset(images=tuple(images), names=names, unlabelled=unlabelled)


def _object(words: list[str], classes: int) -> tuple[int, tuple[float, float, float, float]]:
    if len(words) != 5:
        raise ValueError(f"expected 5 columns (class cx cy width height), found {len(words)}")
    try:
        label = int(words[0])
    except ValueError:
        raise ValueError(f"class {words[0][:40]!r} is not an integer") from None
    if not 0 <= label < classes:
        raise ValueError(f"class {label} is not one of the {classes} classes (0 to {classes - 1})")
    return label, _box(words[1:])


def _box(words: list[str]) -> tuple[float, float, float, float]:
    try:
        cx, cy, width, height = (float(word) for word in words)
    except ValueError:
        raise ValueError(f"{' '.join(words)[:80]!r} is not four numbers") from None
    text = f"box {cx:g} {cy:g} {width:g} {height:g}"
    if not all(math.isfinite(value) for value in (cx, cy, width, height)):
        raise ValueError(f"{text} is not finite")
    if width <= 0 or height <= 0:
        raise ValueError(f"{text} has no area")
    corners = (cx - width / 2, cy - height / 2, cx + width / 2, cy + height / 2)
    if min(corners) < -TOLERANCE or max(corners) > 1 + TOLERANCE:
        raise ValueError(f"{text} leaves the image (coordinates are relative, 0 to 1)")
    if min(corners) >= 0 and max(corners) <= 1:
        return cx, cy, width, height
    left, top, right, bottom = (min(max(corner, 0.0), 1.0) for corner in corners)
    if right <= left or bottom <= top:
        raise ValueError(f"{text} lies outside the image")
    return (left + right) / 2, (top + bottom) / 2, right - left, bottom - top


def folder_images(root: Path, split: str | None) -> tuple[Path, ...]:
    """Images of a split of a folder."""
    for name in EVALUATION_SPLITS if split is None else (split,):
        for folder in (root / "images" / name, root / name / "images", root / name):
            if folder.is_dir():
                return tuple(sorted(p for p in folder.rglob("*") if is_image(p)))
    if split is None:
        for folder in (root / "images", root):
            if folder.is_dir() and (found := tuple(sorted(filter(is_image, folder.iterdir())))):
                return found
    known = ", ".join(_splits(root)) or "none"
    if split is None:
        raise DatasetError(f"{root}: no images found (splits: {known}; choose one with --split)")
    raise DatasetError(f"{root}: has no split {split!r} (splits: {known})")


def _splits(root: Path) -> Iterator[str]:
    folder = root / "images" if (root / "images").is_dir() else root
    return (path.name for path in sorted(folder.iterdir()) if path.is_dir())


def folder_names(root: Path) -> Path | None:
    """The names file of a folder, if it has one; raises `DatasetError` if it has several."""
    found = sorted(root.glob("*.names")) or sorted(root.glob("classes.txt"))
    if len(found) > 1:
        raise DatasetError(f"{root}: several .names files ({found[0].name}, {found[1].name}, ...)")
    return found[0] if found else None


def read_data_file(path: Path) -> dict[str, str]:
    """Options of a darknet .data file; raises `DatasetError` naming a malformed line."""
    options: dict[str, str] = {}
    for number, line in enumerate(read_lines(path), start=1):
        if not (text := line.split("#")[0].strip()):
            continue
        key, equals, value = (part.strip() for part in text.partition("="))
        if not equals or not value:
            raise DatasetError(f"{path}:{number}: expected key = value, found {text[:60]!r}")
        options[key] = value
    return options


def find_named(data_file: Path, name: str) -> Path:
    """A file that a .data file names, from the working directory or from the .data file's folder.

    Raises `DatasetError` if it is in neither.
    """
    for path in (Path(name), data_file.parent / name):
        if path.is_file():
            return path
    raise DatasetError(f"{data_file}: {name} not found (from here, or from {data_file.parent})")


def split_images(
    path: Path, split: str | None, classes: int
) -> tuple[tuple[Path, ...], Path | None]:
    """Images of a split and the names file."""
    options = read_data_file(path)
    if options.get("classes", str(classes)) != str(classes):
        raise DatasetError(
            f"{path}: classes = {options['classes']}, but the network has {classes} classes"
        )
    key = "valid" if split in (None, "val") else str(split)
    if key not in options:
        raise DatasetError(f"{path}: has no option {key!r} naming a list of images")
    names = find_named(path, options["names"]) if "names" in options else None
    return read_image_list(find_named(path, options[key]), path.parent), names
