"""Folders that appear whole or not at all."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from yoloprune.errors import DatasetError
from yoloprune.files import make_public


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Give a temporary folder beside `path` that becomes `path` when the block succeeds.

    A crash or an exception leaves nothing at `path`. Parent folders are created. Raises
    `DatasetError` if something other than an empty folder is there already.
    """
    path = path.absolute()
    refuse_existing(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
    try:
        yield temporary
        make_public(temporary)
        temporary.replace(path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def refuse_existing(path: Path) -> None:
    """Raise `DatasetError` unless `path` is free: nothing is there, or an empty folder."""
    if path.is_dir():
        if any(path.iterdir()):
            raise DatasetError(f"{path}: the folder is not empty: choose another, or remove it")
    elif path.exists() or path.is_symlink():
        raise DatasetError(f"{path}: a file of this name is in the way: choose another folder")
