"""YOLO text data sets as written, faults included, and the writing of new ones.

`labels.py` reads the same files for training and evaluation, and refuses faults.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from yoloprune.data.dataset import WHOLE, RawDataset, RawImage
from yoloprune.data.images import is_image, read_lines
from yoloprune.data.labels import find_named, folder_names, label_path, read_data_file
from yoloprune.errors import DatasetError

_DATA_SPLITS = ("train", "valid", "val", "test")


def read_yolo_text(path: Path) -> RawDataset:
    """Read all splits of a folder or of a darknet .data file.

    Malformed lines become problems of their image. Raises `DatasetError` if a .data file or a list
    that it names cannot be read, or the number of its names is not its number of classes.
    """
    if path.is_dir():
        names_file = folder_names(path)
        names = _read_names(names_file) if names_file else None
        found: Mapping[str, Sequence[Path]] = dict(_folder_splits(path))
    else:
        names, found = _data_file(path)
    splits = {name: tuple(_raw_image(image) for image in images) for name, images in found.items()}
    return RawDataset(path=path, names=names, splits=splits)


def write_labels(path: Path, boxes: NDArray[np.float64], labels: NDArray[np.int64]) -> None:
    """Write a label file: `boxes` (N, 4) relative centre and size, `labels` (N,)."""
    lines = (
        f"{label} {' '.join(f'{value:.6f}' for value in box)}\n"
        for label, box in zip(labels.tolist(), boxes.tolist(), strict=True)
    )
    path.write_text("".join(lines), encoding="utf-8")


def write_data_file(
    root: Path, name: str, classes: Sequence[str], splits: Mapping[str, Sequence[Path]]
) -> None:
    """Write `name`.data and `name`.names and a list of images for each split into `root`.

    Splits `val` and `test` are called `valid` in the .data file, where darknet looks for them, as
    long as there is none of that name. Paths are relative to `root`.
    """
    (root / f"{name}.names").write_text("".join(f"{c}\n" for c in classes), encoding="utf-8")
    lines = [f"classes = {len(classes)}"]
    for split, images in splits.items():
        key = split
        if "valid" not in splits and (split == "test" or (split == "val" and "test" not in splits)):
            key = "valid"
        (root / f"{split}.txt").write_text(
            "".join(f"{image.relative_to(root).as_posix()}\n" for image in images),
            encoding="utf-8",
        )
        lines.append(f"{key} = {split}.txt")
    lines += [f"names = {name}.names", "backup = backup"]
    (root / f"{name}.data").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _folder_splits(root: Path) -> Iterator[tuple[str, list[Path]]]:
    """Splits by the layouts that `read_dataset` knows; images in no split are one of their own."""
    pictures = root / "images"
    if pictures.is_dir():
        yield from _subfolders(pictures, below="")
        loose = sorted(filter(is_image, pictures.iterdir()))
    else:
        yield from _subfolders(root, below="images")
        loose = sorted(filter(is_image, root.iterdir()))
    if loose:
        yield WHOLE, loose


def _subfolders(root: Path, below: str) -> Iterator[tuple[str, list[Path]]]:
    for folder in sorted(path for path in root.iterdir() if path.is_dir()):
        if folder.name.startswith(".") or folder.name == "labels":
            continue
        inner = folder / below if (folder / below).is_dir() else folder
        if found := sorted(path for path in inner.rglob("*") if is_image(path)):
            yield folder.name, found


def _data_file(path: Path) -> tuple[tuple[str, ...] | None, dict[str, list[Path]]]:
    options = read_data_file(path)
    names = _read_names(find_named(path, options["names"])) if "names" in options else None
    if names is not None and options.get("classes", str(len(names))) != str(len(names)):
        raise DatasetError(f"{path}: classes = {options['classes']}, but {len(names)} names")
    lists = {key: find_named(path, options[key]) for key in _DATA_SPLITS if key in options}
    # Often `valid` and `test` name the same list.
    files = {file: key for key, file in reversed(lists.items())}
    return names, {key: _listed(lists[key], path.parent) for key in lists if key in files.values()}


def _listed(file: Path, base: Path) -> list[Path]:
    listed = [line.strip() for line in read_lines(file) if line.strip()]
    return [Path(name) if Path(name).is_file() else base / name for name in dict.fromkeys(listed)]


def _read_names(path: Path) -> tuple[str, ...]:
    return tuple(name for line in read_lines(path) if (name := line.strip()))


def _raw_image(path: Path) -> RawImage:
    file = label_path(path)
    labels, boxes, places, problems = [], [], [], []
    lines: list[str] = []
    try:
        lines = [] if file is None else read_lines(file)
    except DatasetError as error:
        problems.append(str(error))
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            label, box = _object(line.split())
        except ValueError as problem:
            problems.append(f"{file}:{number}: {problem}")
            continue
        labels.append(label)
        boxes.append(box)
        places.append(f"{file}:{number}")
    return RawImage(
        path=path,
        source=file,
        boxes=np.array(boxes, np.float64).reshape(-1, 4),
        labels=np.array(labels, np.int64),
        places=tuple(places),
        problems=tuple(problems),
    )


def _object(words: list[str]) -> tuple[int, list[float]]:
    if len(words) != 5:
        raise ValueError(f"expected 5 columns (class cx cy width height), found {len(words)}")
    try:
        label = int(words[0])
        cx, cy, width, height = (float(word) for word in words[1:])
    except ValueError:
        raise ValueError(f"{' '.join(words)[:80]!r} is not a class and four numbers") from None
    if not all(map(math.isfinite, (cx, cy, width, height))) or abs(label) > 1 << 31:
        raise ValueError(f"{' '.join(words)[:80]!r} is not a class and four finite numbers")
    return label, [cx - width / 2, cy - height / 2, cx + width / 2, cy + height / 2]
