"""Reading plain files of a sensible size, and writing files and folders whole or not at all."""

import errno
import hashlib
import json
import os
import re
import secrets
import shutil
import stat
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from yoloprune.errors import UsageError, YoloPruneError
from yoloprune.locks import held, in_use, locked, occupied

ABANDONED = 3600.0
"""Seconds after the last change at which a temporary is taken for what a killed process left."""

PATIENCE = 5.0
"""Seconds to wait for what a pipe gives next."""

LONGEST_NAME = 255
"""Bytes of a file's name on most file systems."""

_LONGEST_STEM, _LONGEST_SUFFIX = 200, 32
"""Bytes of a target's name that are used again in its temporary's."""


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


def read_pipe(path: Path, at_most: int) -> bytes:
    """What a named or anonymous pipe gives until its end, at most so many bytes.

    Raises `TimeoutError` if nothing comes for `PATIENCE` seconds.
    """
    data, since = b"", time.monotonic()
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        while len(data) < at_most:
            try:
                part = os.read(descriptor, at_most - len(data))
            except BlockingIOError:
                part = None
            if part:
                data, since = data + part, time.monotonic()
            elif part == b"" and data:
                break
            elif time.monotonic() - since > PATIENCE:
                raise TimeoutError(errno.ETIMEDOUT, "nothing comes out of this pipe", str(path))
            else:
                # Before the first writer opens it, a pipe seems to be at its end.
                time.sleep(0.01)
    finally:
        os.close(descriptor)
    return data


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
    temporary = _temporary(path.parent, path.stem, path.suffix)
    with naming_errors(path, temporary):
        try:
            temporary.open("xb").close()
            yield temporary
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def write_folder(
    folder: Path, obsolete: Sequence[str] = (), *, must_be_new: bool = False
) -> Iterator[Path]:
    """Give a temporary folder that becomes `folder` when the block succeeds.

    An exception in the block leaves `folder` as it was. If there is none yet, or an empty one, it
    appears whole or not at all. Otherwise the files are moved one by one, each whole: a crash
    meanwhile leaves some of them old and some new. Files of `folder` that are not written again
    stay, but for the `obsolete` ones, which belong to what is being replaced. Leftovers go as in
    `write_atomically`. Raises `UsageError` if the folder is a file, or `must_be_new` and is not,
    and `RunError` if another process is writing it or working in it.
    """
    if must_be_new:
        refuse_existing(folder)
    refuse_file(folder)
    # Beside a mount point or a link there may be another disk, and nothing can take its place.
    inside = folder.is_dir() and (folder.is_mount() or folder.is_symlink() or not folder.name)
    parent = folder if inside else folder.parent
    if parent.is_dir() and any(map(in_use, _temporaries(parent, *_affixes(folder.name, "")))):
        raise occupied(folder)
    with temporary_folder(parent, folder.name) as temporary, naming_errors(folder, temporary):
        yield temporary
        if must_be_new and not inside:
            refuse_existing(folder)
        if not folder.exists():
            temporary.replace(folder)
            return
        with locked(folder):
            with suppress(OSError):
                folder.rmdir()  # Which only an empty one lets happen.
            if folder.exists():
                _move_files(temporary, folder, obsolete)
            else:
                temporary.replace(folder)


@contextmanager
def temporary_folder(parent: Path, name: str) -> Iterator[Path]:
    """Give an empty folder in `parent`, which is created if need be, and remove it in the end.

    What a killed process left under the same `name` goes as in `write_atomically`.
    """
    parent.mkdir(parents=True, exist_ok=True)
    temporary = _temporary(parent, name, "")
    with naming_errors(parent, temporary):
        temporary.mkdir()
    try:
        # Held, so that nobody takes it for abandoned, however long it takes.
        with held(temporary):
            yield temporary
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def shortened(name: str, length: int) -> str:
    """The beginning of a name, of at most so many bytes, as file systems count."""
    return name.encode(errors="replace")[:length].decode(errors="ignore")


def refuse_existing(path: Path) -> None:
    """Raise `UsageError` unless `path` is free: nothing is there, or an empty folder."""
    if path.is_dir():
        if any(path.iterdir()):
            raise UsageError(f"{path}: the folder is not empty: choose another, or remove it")
    elif path.exists() or path.is_symlink():
        raise _in_the_way(path)


def refuse_file(folder: Path) -> None:
    """Raise `UsageError` if what is to be a folder is a file."""
    if folder.exists() and not folder.is_dir():
        raise _in_the_way(folder)


def refuse_folder(file: Path) -> None:
    """Raise `UsageError` if what is to be a file is a folder, or its folder is a file."""
    if file.is_dir():
        raise UsageError(f"{file}: a folder of this name is in the way: choose another name")
    for parent in file.parents:
        refuse_file(parent)


def _in_the_way(path: Path) -> UsageError:
    return UsageError(f"{path}: a file of this name is in the way: choose another folder")


def refuse_inside(path: Path, source: Path) -> None:
    """Raise `UsageError` if `path` is in a folder that is read: it would be read the next time."""
    if source.is_dir() and path.resolve().is_relative_to(source.resolve()):
        raise UsageError(f"{path}: lies in {source}, which is read: choose another folder")


@contextmanager
def naming_errors(target: Path, temporary: Path) -> Iterator[None]:
    """Make errors name `target` where they name the temporary in its place, or nothing.

    A full disk is noticed while writing, when the system no longer names the file.
    """
    try:
        yield
    except OSError as error:
        # Of two names, one copied or renamed to the other, it is the written one that matters.
        named = [name for name in (error.filename, error.filename2) if str(temporary) in str(name)]
        if not error.strerror or not (named or error.filename is None):
            raise
        name = str(named[0]).replace(str(temporary), str(target)) if named else str(target)
        raise OSError(error.errno, error.strerror, name) from error
    except YoloPruneError as error:
        if str(temporary) not in str(error):
            raise
        raise type(error)(str(error).replace(str(temporary), str(target))) from error


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


def _temporary(folder: Path, stem: str, suffix: str) -> Path:
    """A name for a temporary in `folder`, from which those that were abandoned are removed."""
    prefix, suffix = _affixes(stem, suffix)
    _remove_abandoned(folder, prefix, suffix)
    return folder / f"{prefix}{secrets.token_hex(4)}{suffix}"


def _affixes(stem: str, suffix: str) -> tuple[str, str]:
    """How the name of a target's temporaries begins and ends."""
    if len(os.fsencode(suffix)) > _LONGEST_SUFFIX:
        suffix = ""
    return f".{shortened(stem, _LONGEST_STEM)}-", f".tmp{suffix}"


def _temporaries(folder: Path, prefix: str, suffix: str) -> list[Path]:
    # In between stands what `_temporary` chooses; a longer name is another target's.
    ours = re.compile(f"{re.escape(prefix)}[a-z0-9_]{{8}}{re.escape(suffix)}")
    with os.scandir(folder) as entries:
        return [Path(entry.path) for entry in entries if ours.fullmatch(entry.name)]


def _remove_abandoned(folder: Path, prefix: str, suffix: str) -> None:
    """Remove temporaries that nobody has written to for so long that nobody will."""
    for path in _temporaries(folder, prefix, suffix):
        # Another process may be removing it too.
        with suppress(OSError):
            if time.time() - path.lstat().st_mtime < ABANDONED or in_use(path):
                continue
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()


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


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file, whole or not at all."""
    with write_atomically(path) as temporary:
        temporary.write_bytes(content)


def write_json(path: Path, document: object) -> None:
    """Write plain data as JSON, a field a line, whole or not at all; paths become text."""
    write_text(path, json.dumps(document, indent=1, default=str) + "\n")
