"""darknet's .data files: lists of images, a file of names, and how many classes there are.

Read as darknet does (`read_data_cfg`, `option_find` of `src/option_list.c`): `#` and `;` begin a
comment at the start of a line only, of two equal keys the first counts, and a value may be empty.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from yoloprune.data.dataset import RawDataset
from yoloprune.data.formats.yolo_labels import read_labeled
from yoloprune.data.request import Request, canonical
from yoloprune.data.text_files import (
    default_names,
    find_named,
    listed_images,
    read_lines,
    read_names,
)
from yoloprune.errors import DatasetError

_SPLITS = ("train", "valid", "val", "test")


def recognizes(path: Path) -> bool:
    """Whether a path is a .data file, or a folder that only such a file explains (CVAT)."""
    if path.is_dir():
        return not (path / "images").is_dir() and len(_files_in(path)) == 1
    return path.suffix.lower() == ".data" and path.is_file()


def read(path: Path, request: Request) -> RawDataset:
    """Read a .data file; raises `DatasetError` if it or a list that it names cannot be read."""
    if path.is_dir():
        (path,) = _files_in(path)
    options = read_data_file(path)
    lists = {key: options[key] for key in _SPLITS if options.get(key)}
    if not lists:
        raise DatasetError(f"{path}: has no option 'train' or 'valid' naming a list of images")
    # Often `valid` and `test` name the same list.
    unique = {file: key for key, file in reversed(lists.items())}
    splits = [key for key in lists if key in unique.values()]
    wanted = request.split
    if wanted is None and request.one and "valid" in splits:
        # Where darknet measures mAP, whatever else there is.
        wanted = "valid"
    if wanted is not None and canonical(wanted) not in map(canonical, splits):
        key = "valid" if canonical(wanted) == "val" else wanted
        raise DatasetError(f"{path}: has no option {key!r} naming a list of images")
    request = replace(request, split=wanted)
    return RawDataset(
        path=path,
        names=_names(path, options),
        splits={
            split: tuple(map(read_labeled, _images(path, lists[split])[: request.limit]))
            for split in request.chosen(splits, path)
        },
    )


def read_data_file(path: Path) -> dict[str, str]:
    """Options of a .data file; raises `DatasetError` naming a malformed line."""
    options: dict[str, str] = {}
    for number, line in enumerate(read_lines(path), start=1):
        text = line.strip()
        if not text or text[0] in "#;":
            continue
        key, equals, value = (part.strip() for part in text.partition("="))
        if not equals:
            raise DatasetError(f"{path}:{number}: expected key = value, found {text[:60]!r}")
        options.setdefault(key, value)
    return options


def write_data_file(
    root: Path, name: str, classes: Sequence[str], splits: Mapping[str, Sequence[Path]]
) -> None:
    """Write `name`.data and `name`.names and a list of images for each split into `root`.

    darknet evaluates on `valid`: that is the split `val` or, without one, `test`, or else the
    training images. Where there is no split `train`, the first is that. Paths are relative to
    `root`.
    """
    (root / f"{name}.names").write_text("".join(f"{c}\n" for c in classes), encoding="utf-8")
    for split, images in splits.items():
        text = "".join(f"{image.relative_to(root).as_posix()}\n" for image in images)
        (root / f"{split}.txt").write_text(text, encoding="utf-8")
    known = {canonical(split): split for split in splits}
    others = [split for split in splits if canonical(split) not in ("val", "test")]
    train = known.get("train", next(iter(others), None))
    valid = known.get("val", known.get("test", train))
    keys = {key: split for key, split in (("train", train), ("valid", valid)) if split}
    keys |= {split: split for split in splits if split not in keys.values()}
    lines = [f"classes = {len(classes)}", *(f"{key} = {s}.txt" for key, s in keys.items())]
    lines += [f"names = {name}.names", "backup = backup"]
    (root / f"{name}.data").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _files_in(root: Path) -> list[Path]:
    """.data files of a folder, or of the folder `data` that darknet's own lie in."""
    return sorted(root.glob("*.data")) or sorted(root.glob("data/*.data"))


def _names(path: Path, options: Mapping[str, str]) -> tuple[str, ...] | None:
    names = read_names(find_named(path, options["names"])) if options.get("names") else None
    if "classes" not in options:
        return names
    # As atoi reads it, whatever follows.
    number = re.match(r"\d{1,9}(?![\w.])", options["classes"])
    if number is None:
        raise DatasetError(f"{path}: classes = {options['classes'][:40]!r} is no number")
    classes = int(number[0])
    if not 1 <= classes <= 10_000:
        raise DatasetError(f"{path}: classes = {classes} is out of range")
    if names is None:
        return default_names(classes)
    if len(names) != classes:
        raise DatasetError(f"{path}: classes = {classes}, but {len(names)} names")
    return names


def _images(path: Path, name: str) -> tuple[Path, ...]:
    return listed_images(find_named(path, name))
