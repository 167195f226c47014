"""Folders of YOLO text.

Layouts: `images/<split>` with `labels/<split>`; `<split>/images` with `<split>/labels`; `<split>`
with label files beside the images; or all of this without splits, `JPEGImages` standing for
`images` too.
"""

from collections.abc import Iterator
from pathlib import Path

from yoloprune.data.dataset import WHOLE, RawDataset
from yoloprune.data.formats.yolo_labels import read_labeled
from yoloprune.data.images import images_below, is_image
from yoloprune.data.request import Request
from yoloprune.data.text_files import names_in
from yoloprune.errors import DatasetError

_NO_SPLITS = ("labels", "annotations", "Annotations")


def recognizes(path: Path) -> bool:
    """Whether a path is a folder: what else it may be is asked before."""
    return path.is_dir()


def read(root: Path, request: Request) -> RawDataset:
    """Read a folder; raises `DatasetError` if there is no image in it."""
    splits = folder_splits(root)
    if not splits:
        raise DatasetError(f"{root}: no images found")
    return RawDataset(
        path=root,
        names=names_in(root),
        splits={
            split: tuple(map(read_labeled, splits[split][: request.limit]))
            for split in request.chosen(splits, root)
        },
    )


def folder_splits(root: Path) -> dict[str, tuple[Path, ...]]:
    """Splits and their images; images in no split are one of their own."""
    pictures = next((p for p in (root / "images", root / "JPEGImages") if p.is_dir()), root)
    splits = dict(_subfolders(pictures))
    if loose := tuple(sorted(filter(is_image, pictures.iterdir()))):
        splits[WHOLE] = splits.get(WHOLE, ()) + loose
    return splits


def _subfolders(root: Path) -> Iterator[tuple[str, tuple[Path, ...]]]:
    for folder in sorted(path for path in root.iterdir() if path.is_dir()):
        if folder.name.startswith(".") or folder.name in _NO_SPLITS:
            continue
        inner = folder / "images"
        if found := images_below(inner if inner.is_dir() else folder):
            yield folder.name, found
