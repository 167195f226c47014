"""Where annotated copies of pictures and films go."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from yoloprune.data.sources import Video
from yoloprune.errors import DatasetError

_KEPT_SUFFIXES = frozenset({".jpeg", ".jpg", ".png"})


def annotated_paths(images: Sequence[Path], out: Path) -> list[Path]:
    """Where under `out` each image goes: its place below the images' common folder.

    JPEG and PNG keep their names, others become JPEG; a name that is taken gets a further suffix.
    Raises `DatasetError` if a picture would replace one of the images.
    """
    originals = [image.resolve() for image in images]
    common = os.path.commonpath([original.parent for original in originals]) if originals else ""
    targets: dict[Path, None] = {}
    for original in originals:
        target = out / original.relative_to(common)
        if original.suffix.lower() not in _KEPT_SUFFIXES:
            target = target.with_suffix(".jpg")
        targets[_free_name(target, targets)] = None
    _refuse_to_replace(originals, targets, out)
    return list(targets)


def film_paths(videos: Sequence[Video], taken: Sequence[Path], out: Path) -> list[Path]:
    """Where under `out` the annotated films go; raises what `annotated_paths` raises."""
    targets: dict[Path, None] = {}
    for video in videos:
        targets[_free_name(out / f"{video.name}.mp4", {*taken, *targets})] = None
    originals = [Path(str(video.address)).resolve() for video in videos if not video.is_live]
    _refuse_to_replace(originals, targets, out)
    return list(targets)


def _free_name(target: Path, taken: Iterable[Path]) -> Path:
    while target in taken:
        target = target.with_name(f"{target.name}{target.suffix}")
    return target


def _refuse_to_replace(originals: Iterable[Path], targets: Iterable[Path], out: Path) -> None:
    replaced = {target.resolve() for target in targets}.intersection(originals)
    if replaced:
        raise DatasetError(
            f"{out}: what is written there would replace {min(replaced)}: choose another folder"
        )
