"""Unpacking archives that may come from anywhere."""

import gzip
import lzma
import shutil
import tarfile
import zlib
from pathlib import Path, PurePosixPath

from yoloprune.errors import DatasetError

MOST_FILES = 100_000
MOST_BYTES = 8 << 30
"""An archive that unpacks to more is taken for damaged or malicious."""

_DAMAGE = (tarfile.TarError, gzip.BadGzipFile, zlib.error, lzma.LZMAError, EOFError)


def unpack_tar(archive: Path, folder: Path) -> None:
    """Unpack a .tar, .tar.gz, .tar.bz2 or .tar.xz file into an existing folder.

    Only plain files and folders below `folder` are accepted. Raises `DatasetError` for anything
    else (a path that leads out, a link, a device), for an archive that is too large unpacked, and
    for a damaged one; what was unpacked until then stays for the caller to remove.
    """
    files, total = 0, 0
    try:
        with tarfile.open(archive, "r:*") as tar:
            for member in tar:
                _check_member(member, archive)
                files, total = files + 1, total + member.size
                if files > MOST_FILES or total > MOST_BYTES:
                    raise DatasetError(
                        f"{archive}: unpacks to more than {MOST_FILES} files or "
                        f"{MOST_BYTES >> 30} GiB: refused"
                    )
                _unpack_member(tar, member, folder)
    except _DAMAGE as error:
        raise DatasetError(f"{archive}: not a tar archive, or damaged: {error}") from error


def _check_member(member: tarfile.TarInfo, archive: Path) -> None:
    name = member.name
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or ":" in name or "\0" in name:
        raise DatasetError(f"{archive}: {name[:80]!r} leads out of the folder: refused")
    if not (member.isreg() or member.isdir()):
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
