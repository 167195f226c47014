"""Names of classes: beside a network, in a data set, and written down."""

from collections.abc import Sequence
from pathlib import Path

from yoloprune.data.read import read_raw
from yoloprune.data.text_files import NAMES_FILES, default_names, read_names
from yoloprune.errors import DatasetError
from yoloprune.files import write_text
from yoloprune.frontends.darknet.names import names_text


def fitting_names(folder: Path, classes: int, stem: str = "") -> tuple[str, ...] | None:
    """The names of so many classes that stand in a folder, or None.

    They are those of `stem`.names, or else of the other files of names, where those with so many
    do not contradict each other.
    """
    own = folder / f"{stem}.names"
    if own.is_file() and (names := _names(own, classes)):
        return names
    files = [file for pattern in NAMES_FILES for file in sorted(folder.glob(pattern))]
    found = {names for file in files if (names := _names(file, classes))}
    return found.pop() if len(found) == 1 else None


def names_of_data(path: Path, classes: int) -> tuple[str, ...]:
    """The class names of a data set, for a network with so many classes.

    Raises `DatasetError` if the data set cannot be read, has no names, or others.
    """
    names = read_raw(path).names
    if names is None:
        raise DatasetError(f"{path}: the data set has no names of classes")
    if len(names) != classes:
        raise DatasetError(f"{path}: {len(names)} classes, but the network has {classes}")
    return names


def write_names(path: Path, names: Sequence[str]) -> None:
    """Write a .names file, as `names_text` has them, unless the names were made up."""
    if tuple(names) != default_names(len(names)):
        write_text(path, names_text(names))


def _names(path: Path, classes: int) -> tuple[str, ...] | None:
    try:
        return read_names(path, classes)
    except DatasetError:
        return None
