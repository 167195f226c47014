"""Unpacking archives that may come from anywhere."""

import bz2
import gzip
import lzma
import shutil
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, Any

from yoloprune.errors import DatasetError
from yoloprune.files import plain_size

MOST_FILES = 100_000
MOST_BYTES = 8 << 30
"""An archive that unpacks to more is taken for damaged or malicious."""

MOST_GROWTH, LEAST_BYTES = 4, 1 << 28
"""So is one that unpacks to more than four times its size, if that is more than 256 MiB: pictures
hardly compress."""

_HEADERS, _HEADER = 1 << 20, 4096
"""Bytes for the headers of an archive, and for each file more: names and times take hundreds."""

_OPENERS: dict[bytes, Any] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ\0": lzma.open,
    b"": open,
}

# tarfile raises most of these only for headers that nobody wrote on purpose.
_DAMAGE = (
    tarfile.TarError,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    ValueError,
    ArithmeticError,
    LookupError,
    TypeError,
    RecursionError,
)


def is_tar(path: Path) -> bool:
    """Whether a file is an archive that `unpack_tar` could begin to unpack."""
    try:
        with _opened(path):
            return True
    except (OSError, *_DAMAGE):
        return False


def unpack_tar(archive: Path, folder: Path) -> None:
    """Unpack a .tar, .tar.gz, .tar.bz2 or .tar.xz file into an existing folder.

    Only plain files and folders below `folder` are accepted. Raises `DatasetError` for anything
    else (a path that leads out, a link, a device), for an archive that is too large unpacked, and
    for a damaged one; what was unpacked until then stays for the caller to remove.
    """
    try:
        with _opened(archive) as (tar, ration):
            _unpack(tar, ration, archive, folder)
    except (OSError, *_DAMAGE) as error:
        # Decompressors raise an `OSError` without a reason for what is damaged.
        if reason := getattr(error, "strerror", None):
            raise DatasetError(f"{archive}: cannot be unpacked: {reason}") from error
        raise DatasetError(f"{archive}: not a tar archive, or damaged: {error}") from error


class _Ration:
    """A stream of which only so much may be read: headers may claim to be of any length."""

    def __init__(self, stream: IO[bytes]) -> None:
        self.stream, self.left = stream, _HEADERS

    def read(self, size: int) -> bytes:
        self._take(size)
        return self.stream.read(size)

    def seek(self, position: int) -> int:
        self._take(position - self.stream.tell())
        return self.stream.seek(position)

    def tell(self) -> int:
        return self.stream.tell()

    def _take(self, count: int) -> None:
        self.left -= max(0, count)
        if self.left < 0:
            raise tarfile.ReadError("a header is longer than makes sense")


@contextmanager
def _opened(archive: Path) -> Iterator[tuple[tarfile.TarFile, _Ration]]:
    plain_size(archive)
    with archive.open("rb") as file:
        head = file.read(8)
    opener = next(opener for magic, opener in _OPENERS.items() if head.startswith(magic))
    with opener(archive, "rb") as stream:
        ration = _Ration(stream)
        with tarfile.open(fileobj=ration, mode="r:") as tar:  # type: ignore[call-overload]
            yield tar, ration


def _unpack(tar: tarfile.TarFile, ration: _Ration, archive: Path, folder: Path) -> None:
    most = min(MOST_BYTES, max(LEAST_BYTES, MOST_GROWTH * archive.stat().st_size))
    files, total = 0, 0
    while (member := tar.next()) is not None:
        _check_member(member, archive)
        size = member.size if member.isreg() else 0
        files, total = files + 1, total + size
        if files > MOST_FILES or total > most:
            raise DatasetError(
                f"{archive}: unpacks to more than {MOST_FILES} files or {most >> 20} MiB: refused"
            )
        ration.left += size + _HEADER
        _unpack_member(tar, member, folder)
        # Otherwise they are all remembered, with whatever their headers say.
        tar.members.clear()  # type: ignore[attr-defined]


def _check_member(member: tarfile.TarInfo, archive: Path) -> None:
    name = member.name
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or ":" in name or "\0" in name:
        raise DatasetError(f"{archive}: {name[:80]!r} leads out of the folder: refused")
    if not (member.isreg() or member.isdir()) or member.issparse():
        raise DatasetError(f"{archive}: {name[:80]!r} is a link or a device, not a file: refused")


def _unpack_member(tar: tarfile.TarFile, member: tarfile.TarInfo, folder: Path) -> None:
    """Write one file without the archive's owner, mode and time: none of them is needed."""
    target = folder / member.name
    if member.isdir():
        target.mkdir(parents=True, exist_ok=True)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    source = tar.extractfile(member)
    assert source is not None, "a plain file has content"
    with source, target.open("wb") as copy:
        shutil.copyfileobj(source, copy, 1 << 20)
    if target.stat().st_size != member.size:
        raise tarfile.ReadError(f"{member.name} is cut off")
