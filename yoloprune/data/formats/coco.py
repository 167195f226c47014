"""COCO annotations: a JSON file for each split.

A box is [left, top, width, height] in pixels. Categories are numbered in the order of their ids.
Crowd regions (`iscrowd`) are left out: one box around many objects is no object to learn.

Layouts: `annotations/*.json` (COCO, CVAT), `<split>/_annotations.coco.json` (Roboflow), a .json
file beside the images (Label Studio). Format: T.-Y. Lin et al., "Microsoft COCO: Common Objects in
Context", 2014, cocodataset.org.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from yoloprune.data.dataset import RawDataset, RawImage
from yoloprune.data.request import Request
from yoloprune.data.text_files import is_file, read_bytes
from yoloprune.errors import DatasetError

_ROBOFLOW = "_annotations.coco.json"
_MOST_BYTES = 1 << 30


def recognizes(path: Path) -> bool:
    """Whether a path is a .json file, or a folder with COCO files."""
    return bool(coco_files(path))


def coco_files(path: Path) -> dict[str, Path]:
    """COCO files by split: `path` itself, or those of its folder; may be empty.

    The split is the last word of the file's name without its year: instances_val2017.json is val;
    that of Roboflow's files is their folder. Raises `DatasetError` if two files name one split.
    """
    if path.suffix.lower() == ".json" and path.is_file():
        return {_split_of(path): path}
    if not path.is_dir():
        return {}
    folder = path / "annotations"
    # Beside the boxes, COCO's own folder has captions and key points of the same images.
    files = sorted(folder.glob("instances_*.json")) or sorted(folder.glob("*.json"))
    files = files or sorted((*path.glob(f"*/{_ROBOFLOW}"), *path.glob(_ROBOFLOW)))
    files = files or sorted(filter(_is_coco, path.glob("*.json")))
    splits = {_split_of(file): file for file in files}
    if len(splits) < len(files):
        raise DatasetError(f"{files[0].parent}: several files for one split: give one of them")
    return splits


def read(path: Path, request: Request) -> RawDataset:
    """Read COCO files, all of `coco_files(path)` or that of one split.

    `request.images` is the folder of the images; without it they are looked for beside the file, in
    `images` and in the folder of the split's name, there and one folder up. Annotations that make
    no sense become problems. Raises `DatasetError` if a file is not JSON in COCO's form.
    """
    files = coco_files(path)
    # A file says what it is for, whatever it is called.
    chosen = tuple(files) if path.is_file() else request.chosen(files, path)
    read_files = {split: _File(files[split]) for split in chosen}
    if any(map(_over_others, read_files.values())):
        # Whether an object is of such a category, any of the splits may say.
        read_files |= {split: _File(files[split]) for split in files if split not in read_files}
    first, *others = read_files.values()
    if any(file.categories != first.categories for file in others):
        raise DatasetError(f"{path}: other categories than in the other splits")
    labels = _labels(first, list(read_files.values()))
    splits = {}
    problems: list[str] = []
    for split in chosen:
        file = read_files[split]
        folders = list(_image_folders(file.path, request.images))
        splits[split] = file.read(labels, folders, request.limit, problems)
    return RawDataset(
        path=path,
        names=tuple(first.categories[identity] for identity in labels),
        splits=splits,
        problems=tuple(problems),
    )


class _File:
    """One COCO file: its entries by id, and the names of its categories by id."""

    def __init__(self, path: Path) -> None:
        self.path = path
        document = _load(path)
        try:
            categories = _by_id(document, "categories", "name")
            self.entries = _by_id(document, "images", "file_name")
            self.annotations = _entries(document, "annotations")
        except ValueError as problem:
            raise DatasetError(f"{path}: {problem}") from None
        self.categories = {key: str(categories[key]["name"]) for key in sorted(categories)}
        self.parents = {key: str(entry.get("supercategory")) for key, entry in categories.items()}
        self.used = {_reference(annotation.get("category_id")) for annotation in self.annotations}

    def read(
        self,
        labels: dict[int, int],
        folders: Sequence[Path],
        limit: int | None,
        problems: list[str],
    ) -> tuple[RawImage, ...]:
        """Images with their objects; what belongs to none of them is added to `problems`."""
        objects: dict[int, list[tuple[int, list[float], str]]] = {key: [] for key in self.entries}
        faulty: dict[int, list[str]] = {}
        outlines: dict[int, int] = {}
        ignored: dict[int | None, int] = {}
        for number, annotation in enumerate(self.annotations):
            place = f"{self.path}: annotation {annotation.get('id', f'number {number}')!s:.40}"
            image = _reference(annotation.get("image_id"))
            category = _reference(annotation.get("category_id"))
            if annotation.get("iscrowd") in (1, True):
                ignored[image] = ignored.get(image, 0) + 1
                continue
            if image is None or image not in objects:
                shown = f"{annotation.get('image_id')!r:.40}"
                problems.append(f"{place}: no image has the id {shown}")
                continue
            box = _box(annotation.get("bbox"))
            if box is None and (box := _outline(annotation.get("segmentation"))) is not None:
                outlines[image] = outlines.get(image, 0) + 1
            if category is None or category not in labels:
                shown = f"{annotation.get('category_id')!r:.40}"
                faulty.setdefault(image, []).append(f"{place}: no category has the id {shown}")
            elif box is None:
                faulty.setdefault(image, []).append(f"{place}: bbox is not four numbers")
            else:
                objects[image].append((labels[category], box, place))
        if problems:
            # One of those annotations may be the one that an image lacks.
            text = f"no object, while {len(problems)} annotations belong to no image"
            bare = (key for key in objects if not objects[key] and key not in faulty)
            faulty |= {key: [f"{self.path}: image {key}: {text}"] for key in bare}
        last_names = Counter(_parts(entry["file_name"])[-1] for entry in self.entries.values())
        images: dict[Path, RawImage] = {}
        for key in self.entries:
            path = _find_image(self.entries[key]["file_name"], folders, last_names)
            read = replace(
                _raw_image(self, key, path, objects[key], faulty.get(key, [])),
                polygons=outlines.get(key, 0),
                ignored=ignored.get(key, 0),
            )
            images[path] = read if path not in images else _joined(images[path], read)
        return tuple(images.values())[:limit]


def _labels(first: _File, files: Sequence[_File]) -> dict[int, int]:
    """Numbers of the classes by category id.

    Roboflow's files begin with a category over all others that no object has.
    """
    unused = set(_over_others(first)).difference(*(file.used for file in files))
    kept = [identity for identity in first.categories if identity not in unused]
    return {identity: number for number, identity in enumerate(kept)}


def _over_others(file: _File) -> list[int]:
    """Categories that others name as theirs, and that no object of this file has."""
    return [
        identity
        for identity, name in file.categories.items()
        if identity not in file.used
        and any(key != identity and parent == name for key, parent in file.parents.items())
    ]


def _load(file: Path) -> dict[str, Any]:
    try:
        document = json.loads(read_bytes(file, _MOST_BYTES))
    except (ValueError, RecursionError) as error:
        raise DatasetError(f"{file}: not JSON: {error}") from None
    if not isinstance(document, dict):
        raise DatasetError(f"{file}: not in COCO's form: expected an object at the top")
    return document


def _is_coco(file: Path) -> bool:
    """Whether a .json file of any name may be COCO's: Label Studio's notes.json is not."""
    try:
        data = read_bytes(file, _MOST_BYTES)
    except DatasetError:
        return False
    return all(key in data for key in (b'"images"', b'"annotations"', b'"categories"'))


def _entries(document: dict[str, Any], key: str) -> list[dict[str, Any]]:
    entries = document.get(key)
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise ValueError(f"not in COCO's form: {key!r} must be a list of objects")
    return entries


def _by_id(document: dict[str, Any], key: str, text: str) -> dict[int, dict[str, Any]]:
    found: dict[int, dict[str, Any]] = {}
    for number, entry in enumerate(_entries(document, key)):
        identity = _identity(entry.get("id"))
        named = isinstance(entry.get(text), str) and entry[text].strip()
        if identity is None or not named:
            raise ValueError(f"{key}[{number}] must have an integer 'id' and a text {text!r}")
        if identity in found:
            raise ValueError(f"{key}[{number}] repeats the id {identity}")
        found[identity] = entry
    return found


def _identity(value: object) -> int | None:
    """An id; some programs write 1.0."""
    if isinstance(value, bool):
        return None
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if isinstance(value, int) else None


def _reference(value: object) -> int | None:
    """An id that another entry names; some programs write it as text."""
    if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) < 19:
        return int(value)
    return _identity(value)


def _numbers(value: object) -> list[float] | None:
    if not isinstance(value, list):
        return None
    numeric = all(isinstance(n, int | float) and not isinstance(n, bool) for n in value)
    return value if numeric and all(abs(n) < 1e9 for n in value) else None


def _box(value: object) -> list[float] | None:
    numbers = _numbers(value)
    if numbers is None or len(numbers) != 4:
        return None
    left, top, width, height = numbers
    return [left, top, left + width, top + height]


def _outline(value: object) -> list[float] | None:
    """The bounding box of polygons, for annotations without a box."""
    if not isinstance(value, list) or not value:
        return None
    parts = [_numbers(part) for part in value]
    if any(part is None or len(part) < 6 or len(part) % 2 for part in parts):
        return None
    x = [number for part in parts if part for number in part[::2]]
    y = [number for part in parts if part for number in part[1::2]]
    return [min(x), min(y), max(x), max(y)]


def _joined(first: RawImage, second: RawImage) -> RawImage:
    """One image that is listed twice, with the objects of both entries."""
    return replace(
        first,
        boxes=np.concatenate((first.boxes, second.boxes)),
        labels=np.concatenate((first.labels, second.labels)),
        places=first.places + second.places,
        problems=first.problems + second.problems,
        polygons=first.polygons + second.polygons,
        ignored=first.ignored + second.ignored,
    )


def _raw_image(
    file: _File,
    identity: int,
    path: Path,
    objects: list[tuple[int, list[float], str]],
    problems: list[str],
) -> RawImage:
    entry = file.entries[identity]
    height, width = (_side(entry.get(key)) for key in ("height", "width"))
    size = None if height is None or width is None else (height, width)
    if size is None:
        text = f"{file.path}: image {identity}: width and height must be positive integers"
        problems, objects = [*problems, text], []
    pixels = np.array([box for _, box, _ in objects], np.float64).reshape(-1, 4)
    rows, columns = size or (1, 1)
    return RawImage(
        path=path,
        source=file.path,
        boxes=pixels / (columns, rows, columns, rows),
        labels=np.array([label for label, _, _ in objects], np.int64),
        places=tuple(place for _, _, place in objects),
        size=size,
        problems=tuple(problems),
    )


def _side(value: object) -> int | None:
    side = _identity(value)
    return side if side is not None and 1 <= side < 1_000_000_000 else None


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


def _parts(name: str) -> tuple[str, ...]:
    """Folders and file name, at least the latter."""
    return PurePosixPath(name.replace("\\", "/").replace("\0", "")).parts or (name,)


def _find_image(name: str, folders: Sequence[Path], last_names: Mapping[str, int]) -> Path:
    parts = _parts(name)
    # A name may have folders, but must not lead out of the folder of the images.
    inside = Path(*parts) if ".." not in parts and parts[0] != "/" else Path(parts[-1])
    places = [inside]
    if last_names[parts[-1]] == 1:
        # Without its folders, unless the file has several images of that name.
        places.append(Path(inside.name))
    candidates = [folder / place for place in places for folder in folders]
    return next((path for path in candidates if is_file(path)), candidates[0])


def _split_of(file: Path) -> str:
    if file.name == _ROBOFLOW:
        return file.absolute().parent.name
    word = file.stem.rpartition("_")[2]
    return word.rstrip("0123456789") or word
