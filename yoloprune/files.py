"""Writing files, and folders of files, whole or not at all."""

import errno
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def write_atomically(path: Path) -> Iterator[Path]:
    """Give a temporary file in `path`'s folder that replaces `path` when the block succeeds.

    A crash or an exception leaves the old file, or none. Parent folders are created.
    """
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    # The suffix stays: writers such as cv2.imwrite choose the format by it.
    handle, name = tempfile.mkstemp(prefix=f".{path.stem}-", suffix=path.suffix, dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        make_public(temporary)
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
    """Give a temporary folder whose files move into `folder` when the block succeeds.

    Files of `folder` that are not written again stay, but for the `obsolete` ones, which belong to
    what is being replaced. An exception leaves `folder` as it was.
    """
    if folder.exists() and not folder.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(folder))
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as name:
        temporary = Path(name)
        yield temporary
        written = sorted(temporary.iterdir())
        for path in written:
            if (folder / path.name).is_dir():
                taken = str(folder / path.name)
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), taken)
        folder.mkdir(exist_ok=True)
        for old in obsolete:
            (folder / old).unlink(missing_ok=True)
        for path in written:
            path.replace(folder / path.name)


def make_public(path: Path) -> None:
    """Give a temporary file or folder, which is private, the mode that an ordinary one has."""
    umask = os.umask(0)
    os.umask(umask)
    path.chmod((0o777 if path.is_dir() else 0o666) & ~umask)


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text file, whole or not at all."""
    with write_atomically(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
