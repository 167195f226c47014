"""Reading plain files of a sensible size, and writing files and folders whole or not at all."""

import errno
import hashlib
import os
import re
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

ABANDONED = 3600.0
"""Seconds after the last change at which a temporary is taken for what a killed process left."""


def plain_size(path: Path) -> int:
    """Size in bytes of a plain file.

    Raises `OSError`, with a reason and the path, for a folder, for a device or a pipe (which may
    never end), and for a name that no file can have.
    """
    try:
        status = path.stat()
    except ValueError:
        # A null byte, or a character that is in no encoding.
        raise OSError(errno.EINVAL, "no file can have this name", str(path)) from None
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "a device or a pipe, not a plain file", str(path))
    return status.st_size


def read_file(path: Path, at_most: int) -> bytes:
    """The bytes of a plain file; raises `OSError` as `plain_size` does, and beyond `at_most`."""
    if (size := plain_size(path)) > at_most:
        reason = f"{size} bytes, where more than {at_most} make no sense"
        raise OSError(errno.EFBIG, reason, str(path))
    return path.read_bytes()


@contextmanager
def write_atomically(path: Path) -> Iterator[Path]:
    """Give a temporary file in `path`'s folder that replaces `path` when the block succeeds.

    A crash or an exception leaves the old file, or none; so does a power failure, for the new one
    is on the disk before it is renamed. Parent folders are created. Several processes may write the
    same file: the last one to finish wins. What a killed one left goes with a later write, once it
    has not changed for an hour.
    """
    with suppress(FileNotFoundError):
        # Whoever may write to a device could replace it.
        plain_size(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # The suffix stays: writers such as cv2.imwrite choose the format by it.
    prefix, suffix = f".{path.stem}-", f".tmp{path.suffix}"
    _remove_abandoned(path.parent, prefix, suffix)
    handle, name = tempfile.mkstemp(prefix=prefix, suffix=suffix, dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        make_public(temporary)
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        # A full disk is noticed while writing, when the system no longer names the file.
        if error.filename is None and error.strerror:
            raise type(error)(error.errno, error.strerror, str(path)) from error
        raise
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def write_folder(folder: Path, obsolete: Sequence[str] = ()) -> Iterator[Path]:
    """Give a temporary folder that becomes `folder` when the block succeeds.

    An exception in the block leaves `folder` as it was. If there is none yet, or an empty one, it
    appears whole or not at all. Otherwise the files are moved one by one, each whole: a crash
    meanwhile leaves some of them old and some new. Files of `folder` that are not written again
    stay, but for the `obsolete` ones, which belong to what is being replaced. Leftovers go as in
    `write_atomically`.
    """
    if folder.exists() and not folder.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(folder))
    folder.parent.mkdir(parents=True, exist_ok=True)
    prefix, suffix = f".{folder.name}-", ".tmp"
    _remove_abandoned(folder.parent, prefix, suffix)
    temporary = Path(tempfile.mkdtemp(prefix=prefix, suffix=suffix, dir=folder.parent))
    try:
        yield temporary
        with suppress(OSError):
            folder.rmdir()  # Which only an empty one lets happen.
        if folder.exists():
            _move_files(temporary, folder, obsolete)
        else:
            make_public(temporary)
            temporary.replace(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _move_files(temporary: Path, folder: Path, obsolete: Sequence[str]) -> None:
    written = sorted(path for path in temporary.rglob("*") if not path.is_dir())
    targets = [folder / path.relative_to(temporary) for path in written]
    for target in targets:
        if target.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(target))
    for old in obsolete:
        (folder / old).unlink(missing_ok=True)
    for path, target in zip(written, targets, strict=True):
        target.parent.mkdir(parents=True, exist_ok=True)
        path.replace(target)


def _remove_abandoned(folder: Path, prefix: str, suffix: str) -> None:
    """Remove temporaries that nobody has written to for so long that nobody will."""
    # In between stands what `tempfile` chooses; a longer name is another target's.
    ours = re.compile(f"{re.escape(prefix)}[a-z0-9_]{{8}}{re.escape(suffix)}")
    with os.scandir(folder) as entries:
        found = [entry for entry in entries if ours.fullmatch(entry.name)]
    for entry in found:
        # Another process may be removing it too.
        with suppress(OSError):
            if time.time() - entry.stat(follow_symlinks=False).st_mtime < ABANDONED:
                continue
            if entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry.path)
            else:
                Path(entry.path).unlink()


def make_public(path: Path) -> None:
    """Give a temporary file or folder, which is private, the mode that an ordinary one has."""
    umask = os.umask(0)
    os.umask(umask)
    path.chmod((0o777 if path.is_dir() else 0o666) & ~umask)


def file_sha256(path: Path) -> str:
    """SHA-256 of a plain file, in hexadecimal digits; raises `OSError` as `plain_size` does."""
    plain_size(path)
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text file, whole or not at all.

    Of a file name that is not UTF-8 the odd bytes are written as escapes.
    """
    with write_atomically(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")
