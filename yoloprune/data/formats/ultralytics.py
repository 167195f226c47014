"""data.yaml: where the images of each split are, and the names of the classes.

`train`, `val` and `test` are folders, .txt lists or lists of these, relative to `path` or to the
file's folder; `names` is a list or a mapping from numbers, `nc` their number. Labels are YOLO text.

Format: docs.ultralytics.com/datasets/detect. Roboflow and CVAT write it too.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from yoloprune.data.dataset import RawDataset
from yoloprune.data.formats.yolo import folder_splits
from yoloprune.data.formats.yolo_labels import read_labeled
from yoloprune.data.images import images_below, is_image
from yoloprune.data.request import Request, canonical
from yoloprune.data.text_files import (
    default_names,
    listed_images,
    names_in,
    read_bytes,
    read_lines,
)
from yoloprune.errors import DatasetError

_SPLITS = ("train", "val", "valid", "test")
_MOST_BYTES = 1 << 20
# The one in C is some four times as fast; not every build of PyYAML has it.
_Base: Any = getattr(yaml, "CBaseLoader", yaml.BaseLoader)


class _Loader(_Base):  # type: ignore[misc]
    """Texts, lists and mappings alone; a key that a mapping has twice is an error."""

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        """As the base does, which would let the last of two keys win."""
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        if len(set(keys)) < len(keys):
            twice = next(key for key in keys if keys.count(key) > 1)
            raise yaml.YAMLError(f"{twice[:40]!r} is given twice")
        return super().construct_mapping(node, deep=deep)


def recognizes(path: Path) -> bool:
    """Whether a path is a .yaml file, or a folder with one that describes a data set."""
    if path.is_dir():
        return _file_in(path) is not None
    return path.suffix.lower() in (".yaml", ".yml") and path.is_file()


def read(path: Path, request: Request) -> RawDataset:
    """Read a data.yaml, or that of a folder; raises `DatasetError` if it makes no sense.

    A file from another machine names nothing that exists: then the splits are those of the folder
    that the file lies in.
    """
    file = _file_in(path) if path.is_dir() else path
    assert file is not None, "recognized"
    document = _load(file)
    splits = _splits(file, document) or folder_splits(file.parent)
    if request.split is None and not request.one:
        # Where there is no split of its own, `val` often names the images of another.
        splits = _without_repeats(splits)
    if not splits:
        entries = ", ".join(f"{key}: {_shown(document[key])}" for key in _SPLITS if key in document)
        raise DatasetError(f"{file}: no images found ({entries or 'it names no split'})")
    read_one = partial(read_labeled, keypoints="kpt_shape" in document)
    return RawDataset(
        path=path,
        names=_names(file, document),
        splits={
            split: tuple(map(read_one, splits[split][: request.limit]))
            for split in request.chosen(splits, path)
        },
    )


def write_data_yaml(root: Path, classes: Sequence[str], splits: Sequence[str]) -> None:
    """Write a data.yaml for `images/<split>` below `root`, which Ultralytics can train with."""
    known = {canonical(split): split for split in splits}
    train = known.get("train", splits[0])
    keys = {"train": train, "val": known.get("val", known.get("test", train))}
    if "test" in known:
        keys["test"] = known["test"]
    document = {key: f"images/{split}" for key, split in keys.items()}
    text = yaml.safe_dump(
        document | {"nc": len(classes), "names": list(classes)},
        sort_keys=False,
        allow_unicode=True,
        width=1000,
    )
    (root / "data.yaml").write_text(text, encoding="utf-8")


def _file_in(root: Path) -> Path | None:
    """The file that describes a folder: data.yaml, or else the only one that can."""
    files = sorted((*root.glob("*.yaml"), *root.glob("*.yml")))
    files.sort(key=lambda file: file.stem != "data")
    for file in files:
        try:
            document = _load(file)
        except DatasetError:
            if file.stem == "data":
                raise
            continue
        if ("names" in document or "nc" in document) and any(key in document for key in _SPLITS):
            return file
    return None


def _load(file: Path) -> dict[str, Any]:
    read_bytes(file, _MOST_BYTES)
    try:
        # All scalars as texts: `names: [yes, no]` are classes, not booleans.
        document = yaml.load("\n".join(read_lines(file)), Loader=_Loader)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise DatasetError(f"{file}: not YAML: {reason}") from None
    if not isinstance(document, dict):
        raise DatasetError(f"{file}: expected a mapping with train, val and names")
    return {str(key): value for key, value in document.items()}


def _names(file: Path, document: Mapping[str, Any]) -> tuple[str, ...] | None:
    count = _count(file, document)
    value = document.get("names")
    if isinstance(value, dict):
        try:
            numbered = {int(key): name for key, name in value.items()}
        except ValueError:
            raise DatasetError(f"{file}: names must be numbered from 0") from None
        if sorted(numbered) != list(range(len(numbered))):
            raise DatasetError(f"{file}: names must be numbered from 0 without gaps")
        value = [numbered[key] for key in sorted(numbered)]
    if value is None or value == "":
        return default_names(count) if count is not None else names_in(file.parent)
    if not isinstance(value, list) or not value or not all(isinstance(n, str) for n in value):
        raise DatasetError(f"{file}: names must be a list, or a mapping from numbers")
    if count is not None and count != len(value):
        raise DatasetError(f"{file}: nc is {count}, but there are {len(value)} names")
    return tuple(value)


def _count(file: Path, document: Mapping[str, Any]) -> int | None:
    if "nc" not in document:
        return None
    try:
        count = int(document["nc"])
    except (TypeError, ValueError):
        count = 0
    if not 1 <= count <= 10_000:
        raise DatasetError(f"{file}: nc must be a number of classes, not {_shown(document['nc'])}")
    return count


def _shown(value: object) -> str:
    """A value in a message: lists may hold one another many times over, and are not spelled out."""
    return repr(value[:40]) if isinstance(value, str) else "a list or a mapping"


def _splits(file: Path, document: Mapping[str, Any]) -> dict[str, tuple[Path, ...]]:
    splits: dict[str, tuple[Path, ...]] = {}
    lost: list[str] = []
    for key in _SPLITS:
        entries = document.get(key)
        images: dict[Path, None] = {}
        for entry in entries if isinstance(entries, list) else [entries]:
            if not isinstance(entry, str) or not entry.strip():
                continue
            if (place := _find(file, document, entry.strip())) is not None:
                images |= dict.fromkeys(_images(place))
            elif key != "test":
                # Roboflow names a test split that it does not always write.
                lost.append(f"{key}: {_shown(entry)}")
        if images:
            splits[key] = tuple(images)
    if splits and lost:
        places = ", ".join(dict.fromkeys(str(root) for root in _roots(file, document)))
        raise DatasetError(f"{file}: {lost[0]} not found (from {places})")
    return splits


def _without_repeats(splits: Mapping[str, tuple[Path, ...]]) -> dict[str, tuple[Path, ...]]:
    """Of splits of the same images the first, so that none counts as two."""
    firsts: dict[tuple[Path, ...], str] = {}
    for name, images in splits.items():
        firsts.setdefault(images, name)
    return {name: images for images, name in firsts.items()}


def _images(place: Path) -> tuple[Path, ...]:
    if place.is_dir():
        return images_below(place)
    return (place,) if is_image(place) else listed_images(place)


def _find(file: Path, document: Mapping[str, Any], entry: str) -> Path | None:
    """The folder, list or image that an entry names, if it is anywhere."""
    entry = entry.replace("\\", "/")
    # Roboflow's entries begin with ../ though they start from the file's folder.
    names = [entry] + [entry[3:]] * entry.startswith("../")
    candidates = (root / name for name in names for root in _roots(file, document))
    for path in candidates:
        try:
            if path.exists():
                return path
        except (OSError, ValueError):
            continue
    return None


def _roots(file: Path, document: Mapping[str, Any]) -> Iterator[Path]:
    here = file.parent
    if isinstance(path := document.get("path"), str) and path.strip():
        root = Path(path.strip().replace("\\", "/"))
        yield from (root,) if root.is_absolute() else (here / root, here.parent / root, root)
    yield here
