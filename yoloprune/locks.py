"""Folders that one process at a time works in: a lock that leaves nothing behind.

What is locked is the folder itself (flock), so there is no file to be left over, hashed or copied,
and the lock goes with its process, however that ends. Where a file system or platform has no such
locks, everything goes on without.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from yoloprune.errors import RunError, UsageError

try:
    import fcntl
except ImportError:  # Not on Windows.
    fcntl = None  # type: ignore[assignment]

_held: dict[tuple[int, int], int] = {}
"""Descriptors of the folders that this process holds, by device and inode."""


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a folder, which is made if there is none, and removed if it is empty in the end.

    Raises `RunError` if another process holds it, `UsageError` if it is a file.
    """
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is a file: choose another folder")
    made = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    with held(folder) as ours:
        if not ours:
            raise occupied(folder)
        try:
            yield
        finally:
            if made:
                with suppress(OSError):
                    folder.rmdir()


@contextmanager
def held(folder: Path) -> Iterator[bool]:
    """Hold an existing folder unless another process does, and say so; twice does no harm."""
    place = _place(folder)
    if fcntl is None or place in _held:
        yield True
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        ours = _lock(descriptor)
        if ours:
            _held[place] = descriptor
        yield ours
    finally:
        _held.pop(place, None)
        os.close(descriptor)


def in_use(folder: Path) -> bool:
    """Whether this process or another one holds a folder; nobody holds what is not there."""
    try:
        if _place(folder) in _held:
            return True
        with held(folder) as ours:
            return not ours
    except OSError:
        return False


def occupied(folder: Path) -> RunError:
    """The error of a folder that another process holds."""
    return RunError(
        f"{folder}: another process is working in this folder: wait for it, or choose another one"
    )


def _place(folder: Path) -> tuple[int, int]:
    found = folder.stat()
    return found.st_dev, found.st_ino


def _lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        pass  # A file system without locks.
    return True


def _let_go() -> None:
    """In a child: it must not hold a folder longer than its parent does."""
    for descriptor in _held.values():
        os.close(descriptor)
    _held.clear()


if fcntl is not None:
    os.register_at_fork(after_in_child=_let_go)
