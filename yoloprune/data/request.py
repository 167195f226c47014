"""What a reader of a data set is asked for, and which split that is."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from yoloprune.errors import DatasetError

EVALUATION_SPLITS = ("test", "val")
"""The splits to evaluate on, the first that there is."""

_SAME = {
    "training": "train",
    "valid": "val",
    "validation": "val",
    "validate": "val",
    "testing": "test",
}
"""Other words for a split."""

_AROUND = re.compile(r"[-_ ]?(images|imgs|data|set)$|[-_ ]?\d{4}$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """Which part of a data set to read.

    `images` is the folder of the images of VOC or COCO, if not in the usual places. All splits are
    read, or the one named `split`, or with `one` that for evaluation; of each the first `limit`
    images.
    """

    images: Path | None = None
    split: str | None = None
    one: bool = False
    limit: int | None = None

    def chosen(self, splits: Iterable[str], source: Path) -> tuple[str, ...]:
        """Names of the splits to read; raises `DatasetError` if there is none of that name."""
        if self.split is None and not self.one:
            return tuple(splits)
        return (choose_split(splits, self.split, source),)


def canonical(split: str) -> str:
    """The usual name of a split: train, val or test, or its own in small letters.

    What is around the word does not count: train2017 and train_images are train.
    """
    name = split.casefold()
    word = _AROUND.sub("", name)
    return _SAME.get(word, word or name)


def choose_split(splits: Iterable[str], split: str | None, source: Path) -> str:
    """The split asked for, by any usual name; or the only one, or that for evaluation.

    Raises `DatasetError` if there is no such split, or several to choose from.
    """
    known = sorted(splits)
    listed = ", ".join(known) or "none"
    if split is None:
        if len(known) == 1:
            return known[0]
        for wanted in EVALUATION_SPLITS:
            if (found := _of_name(known, wanted)) is not None:
                return found
        raise DatasetError(f"{source}: no split to evaluate on: choose one of its splits: {listed}")
    if (found := _of_name(known, split)) is None:
        raise DatasetError(f"{source}: has no split {split!r} (splits: {listed})")
    return found


def _of_name(known: list[str], split: str) -> str | None:
    if split in known:
        return split
    return next((name for name in known if canonical(name) == canonical(split)), None)
