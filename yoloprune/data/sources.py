"""What a user points at to have it looked at: pictures, films, cameras, streams."""

import glob
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from yoloprune.data.images import is_image, list_images
from yoloprune.errors import DatasetError, UsageError

VIDEO_SUFFIXES = frozenset(
    {".3gp", ".avi", ".flv", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".ts",
     ".webm", ".wmv"}
)  # fmt: skip

STREAMS = ("http", "https", "rtmp", "rtmps", "rtp", "rtsp", "rtsps", "srt", "tcp", "udp")
"""Kinds of address that OpenCV opens."""

_ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")


@dataclass(frozen=True, slots=True, kw_only=True)
class Video:
    """A film, or a camera or stream, which may have no end (`is_live`).

    `address` is what OpenCV opens: a path, the address of a stream, or a camera's number. `title`
    is how to speak of it: without the password and the key that an address may hold. `name` is the
    stem of files about it.
    """

    address: str | int
    title: str
    name: str
    is_live: bool


def find_sources(
    words: Sequence[str], leave_out: Path
) -> tuple[tuple[Path, ...], tuple[Video, ...]]:
    """The images and the videos that these words stand for, each once.

    A word is an image, a folder, a .txt list of images, a film, a pattern such as `photos/*.jpg`
    (of what matches, images, films and folders are taken), the number of a camera, or a stream's
    address. Where a word brings images beside those in the folder `leave_out`, the latter are left
    out. Raises `DatasetError` where there is nothing of the kind, `UsageError`
    for what is no address.
    """
    images: dict[Path, None] = {}
    videos: dict[Video, None] = {}
    for word in words:
        found = list(_named(word))
        videos |= dict.fromkeys(source for source in found if isinstance(source, Video))
        listed = [image for path in found if isinstance(path, Path) for image in list_images(path)]
        inside = leave_out.resolve()
        others = [image for image in listed if not image.resolve().is_relative_to(inside)]
        images |= dict.fromkeys(others or listed)
    return tuple(images), tuple(videos)


def _named(word: str) -> Iterator[Path | Video]:
    path = Path(word)
    if path.exists():
        yield _film(path) if _is_film(path) else path
    elif match := _ADDRESS.match(word):
        yield _stream(word, match[1].lower())
    elif word.isascii() and word.isdigit():
        yield Video(
            address=int(word), title=f"camera {int(word)}", name=f"camera-{int(word)}", is_live=True
        )
    elif glob.has_magic(word):
        useful = [p for p in _matching(path) if p.is_dir() or is_image(p) or _is_film(p)]
        if not useful:
            raise DatasetError(f"{word}: no image, video or folder matches")
        yield from (_film(path) if _is_film(path) else path for path in useful)
    else:
        yield path  # Whoever lists its images says what is wrong.


def _matching(pattern: Path) -> list[Path]:
    parts = pattern.parts
    first = next(number for number, part in enumerate(parts) if glob.has_magic(part))
    try:
        return sorted(Path(*parts[:first]).glob("/".join(parts[first:])))
    except ValueError as error:
        raise UsageError(f"{pattern}: not a pattern: {error}") from None


def _is_film(path: Path) -> bool:
    return path.suffix.lower() in VIDEO_SUFFIXES and path.is_file()


def _film(path: Path) -> Video:
    return Video(address=str(path), title=str(path), name=path.stem, is_live=False)


def _stream(address: str, kind: str) -> Video:
    if kind not in STREAMS:
        raise UsageError(f"{address}: {kind}:// cannot be opened (known: {', '.join(STREAMS)})")
    try:
        parts = urlsplit(address)
        place = (parts.hostname or "") + (f":{parts.port}" if parts.port else "") + parts.path
    except ValueError as error:
        raise UsageError(f"{kind}://...: not an address: {error}") from None
    name = re.sub(r"[^A-Za-z0-9.-]+", "-", place).strip("-.")[:80]
    return Video(address=address, title=f"{kind}://{place}", name=name or kind, is_live=True)
