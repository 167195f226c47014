"""COCO annotations: one JSON file for each split.

A box is [left, top, width, height] in pixels. Categories are numbered in the order of their ids.
Crowd regions (`iscrowd`) are left out: one box around many objects is no object to learn.

Format: T.-Y. Lin et al., "Microsoft COCO: Common Objects in Context", 2014, cocodataset.org.
"""

import json
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from yoloprune.data.dataset import RawDataset, RawImage
from yoloprune.errors import DatasetError


def coco_files(path: Path) -> dict[str, Path]:
    """COCO files by split: `path` itself, or those of its folder `annotations`; may be empty.

    The split is the last word of the file's name without its year: instances_val2017.json is val.
    Raises `DatasetError` if two files name the same split.
    """
    if path.suffix.lower() == ".json" and path.is_file():
        return {_split_of(path): path}
    folder = path / "annotations"
    # Beside the boxes, COCO's own folder has captions and key points of the same images.
    files = sorted(folder.glob("instances_*.json")) or sorted(folder.glob("*.json"))
    splits = {_split_of(file): file for file in files}
    if len(splits) < len(files):
        raise DatasetError(f"{folder}: several files for one split: give one of them")
    return splits


def read_coco(path: Path, images: Path | None = None, split: str | None = None) -> RawDataset:
    """Read COCO files, all of `coco_files(path)` or that of one split.

    `images` is the folder of the images; without it they are looked for beside the file, in
    `images` and in the folder of the split's name, there and one folder up. Annotations that make
    no sense become problems. Raises `DatasetError` if a file is not JSON in COCO's form.
    """
    files = coco_files(path)
    if split in files:
        files = {split: files[split]}
    names: tuple[str, ...] | None = None
    splits = {}
    problems: list[str] = []
    for key, file in files.items():
        own_names, splits[key], own_problems = _read_file(file, images)
        if names is not None and own_names != names:
            raise DatasetError(f"{file}: other categories than in the other splits")
        names = own_names
        problems += own_problems
    return RawDataset(path=path, names=names, splits=splits, problems=tuple(problems))


def _read_file(
    file: Path, images: Path | None
) -> tuple[tuple[str, ...], tuple[RawImage, ...], list[str]]:
    document = _load(file)
    try:
        categories = _by_id(document, "categories", "name")
        entries = _by_id(document, "images", "file_name")
        annotations = _entries(document, "annotations")
    except ValueError as problem:
        raise DatasetError(f"{file}: {problem}") from None
    labels = {identity: number for number, identity in enumerate(sorted(categories))}
    objects: dict[int, list[tuple[int, list[float], str]]] = {key: [] for key in entries}
    problems = []
    for number, annotation in enumerate(annotations):
        if annotation.get("iscrowd") == 1:
            continue
        place = f"{file}: annotation {annotation.get('id', f'number {number}')}"
        image, category = annotation.get("image_id"), annotation.get("category_id")
        if not isinstance(image, int) or image not in entries:
            problems.append(f"{place}: no image has the id {image!r}")
        elif not isinstance(category, int) or category not in labels:
            problems.append(f"{place}: no category has the id {category!r}")
        elif (box := _box(annotation.get("bbox"))) is None:
            problems.append(f"{place}: bbox is not four numbers")
        else:
            objects[image].append((labels[category], box, place))
    folders = list(_image_folders(file, images))
    read = tuple(_raw_image(file, entries[key], objects[key], folders) for key in entries)
    names = tuple(str(categories[key]["name"]) for key in sorted(categories))
    return names, read, problems


def _load(file: Path) -> dict[str, Any]:
    try:
        document = json.loads(file.read_bytes())
    except OSError as error:
        raise DatasetError(f"{file}: cannot read the file: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise DatasetError(f"{file}: not JSON: {error}") from None
    if not isinstance(document, dict):
        raise DatasetError(f"{file}: not in COCO's form: expected an object at the top")
    return document


def _entries(document: dict[str, Any], key: str) -> list[dict[str, Any]]:
    entries = document.get(key)
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise ValueError(f"not in COCO's form: {key!r} must be a list of objects")
    return entries


def _by_id(document: dict[str, Any], key: str, text: str) -> dict[int, dict[str, Any]]:
    found: dict[int, dict[str, Any]] = {}
    for number, entry in enumerate(_entries(document, key)):
        identity = entry.get("id")
        named = isinstance(entry.get(text), str) and entry[text].strip()
        if type(identity) is not int or not named:
            raise ValueError(f"{key}[{number}] must have an integer 'id' and a text {text!r}")
        if identity in found:
            raise ValueError(f"{key}[{number}] repeats the id {identity}")
        found[identity] = entry
    return found


def _box(value: object) -> list[float] | None:
    if not isinstance(value, list) or len(value) != 4:
        return None
    if not all(isinstance(number, int | float) and abs(number) < 1e9 for number in value):
        return None
    left, top, width, height = value
    return [left, top, left + width, top + height]


def _raw_image(
    file: Path,
    entry: dict[str, Any],
    objects: list[tuple[int, list[float], str]],
    folders: list[Path],
) -> RawImage:
    path = _find_image(entry["file_name"], folders)
    height, width = (_side(entry.get(key)) for key in ("height", "width"))
    problems: tuple[str, ...] = ()
    if height is None or width is None:
        problems = (f"{file}: image {entry['id']}: width and height must be positive integers",)
        objects, height, width = [], 1, 1
    pixels = np.array([box for _, box, _ in objects], np.float64).reshape(-1, 4)
    return RawImage(
        path=path,
        source=file,
        boxes=pixels / (width, height, width, height),
        labels=np.array([label for label, _, _ in objects], np.int64),
        places=tuple(place for _, _, place in objects),
        size=None if problems else (height, width),
        problems=problems,
    )


def _side(value: object) -> int | None:
    return value if isinstance(value, int) and 1 <= value < 1_000_000_000 else None


def _image_folders(file: Path, images: Path | None) -> Iterator[Path]:
    if images is not None:
        yield images
        return
    last_word = file.stem.rpartition("_")[2]
    for base in (file.parent, file.parent.parent):
        yield base
        for name in dict.fromkeys((last_word, _split_of(file), file.stem)):
            yield from (base / name, base / "images" / name)
        yield base / "images"


def _find_image(name: str, folders: list[Path]) -> Path:
    parts = PurePosixPath(name.replace("\\", "/")).parts
    # A name may have folders, but must not lead out of the folder of the images.
    inside = Path(*parts) if parts and ".." not in parts and parts[0] != "/" else Path(parts[-1])
    candidates = [folder / place for place in (inside, inside.name) for folder in folders]
    return next((path for path in candidates if path.is_file()), candidates[0])


def _split_of(file: Path) -> str:
    word = file.stem.rpartition("_")[2]
    return word.rstrip("0123456789") or word
