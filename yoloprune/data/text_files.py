"""Text files that come with data sets: lines, lists of images, names of classes."""

import os
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from yoloprune.counting import counted
from yoloprune.errors import DatasetError

MOST_BYTES = 64 << 20
"""A larger text file is taken for damaged."""

# Not str.splitlines: that also breaks a name at a form feed or at U+2028.
_LINE_END = re.compile(r"\r\n|\r|\n")
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")

MOST_CLASSES = 10_000
"""More names, or class ids from here on without names, are taken for damage."""

_LONGEST_PATH = 4096
"""What Linux takes, in bytes; a longer line of a list is no path, and takes long to look for."""

NAMES_FILES = ("*.names", "classes.txt", "labels/classes.txt", "*/_darknet.labels")
"""Where the names of a folder's classes are, in this order: darknet, labelImg, Roboflow."""


def read_bytes(path: Path, most: int = MOST_BYTES) -> bytes:
    """The bytes of an ordinary file of at most `most` bytes, or a `DatasetError`."""
    try:
        # A pipe or a device would be read for ever.
        if path.exists() and not path.is_dir() and not path.is_file():
            raise DatasetError(f"{path}: not an ordinary file")
        if path.stat().st_size > most:
            raise DatasetError(f"{path}: larger than {most >> 20} MiB: assumed damaged")
        return path.read_bytes()
    except OSError as error:
        raise DatasetError(f"{path}: cannot read the file: {error.strerror}") from error
    except ValueError:
        raise DatasetError(f"{str(path)!r}: not a file name") from None


def read_lines(path: Path, most: int = MOST_BYTES) -> list[str]:
    """Lines of a text file in UTF-8, in UTF-16 with a byte-order mark, or in a code page.

    Code pages are read as latin-1, which maps every byte: names may look wrong, but stay apart.
    Raises `DatasetError` if the file cannot be read or is no text.
    """
    data = read_bytes(path, most)
    try:
        if data.startswith(_UTF_16):
            return _LINE_END.split(data.decode("utf-16"))
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = data.decode("latin-1")
    if "\0" in text:
        raise DatasetError(f"{path}: not a text file (binary, or UTF-16 without a mark)")
    return _LINE_END.split(text)


def read_names(path: Path, classes: int | None = None) -> tuple[str, ...]:
    """Names of classes, one a line; empty lines name none.

    Raises `DatasetError` if there are not as many as the network has `classes`.
    """
    names = tuple(name for line in read_lines(path) if (name := line.strip()))
    if len(names) > MOST_CLASSES:
        raise DatasetError(f"{path}: {len(names)} names: assumed damaged")
    if classes is not None and len(names) != classes:
        own = counted(classes, "class")
        raise DatasetError(f"{path}: {counted(len(names), 'name')}, but the network has {own}")
    return names


def default_names(classes: int) -> tuple[str, ...]:
    """Names for classes that nobody has named."""
    return tuple(f"class {index}" for index in range(classes))


def shown_names(names: Sequence[str]) -> str:
    """The first of some names, for messages."""
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "") if names else "none"


def names_in(root: Path) -> tuple[str, ...] | None:
    """Names of the classes of a folder, None if it has no file of them.

    Raises `DatasetError` if it has several that differ.
    """
    for pattern in NAMES_FILES:
        files = sorted(root.glob(pattern))
        found = {read_names(file): file for file in reversed(files)}
        if len(found) > 1:
            first, second, *_ = (file.relative_to(root) for file in files)
            raise DatasetError(f"{root}: several .names files ({first}, {second}, ...)")
        if found:
            return next(iter(found))
    return None


def read_image_list(path: Path) -> tuple[Path, ...]:
    """Paths of a list file, one a line, each once; raises `DatasetError` if one does not exist."""
    images = []
    locate = _locator(path)
    for number, name in _listed(path):
        image = locate(name)
        if not is_file(image):
            raise DatasetError(f"{path}:{number}: image {name} not found")
        images.append(image)
    return tuple(dict.fromkeys(images))


def listed_images(path: Path) -> tuple[Path, ...]:
    """Paths of a list file, one a line, each once, whether they exist or not."""
    locate = _locator(path)
    return tuple(dict.fromkeys(locate(name) for _, name in _listed(path)))


def find_named(file: Path, name: str) -> Path:
    """A file that another one names; raises `DatasetError` if it is nowhere.

    Names start where darknet is started: looked at are the working directory, the folder of the
    file that names it, and the two above it. CVAT's names begin with `data/`, wherever they lie.
    """
    for path in _candidates(file, name):
        if is_file(path):
            return path
    raise DatasetError(f"{file}: {name} not found (from here, or from {file.parent})")


def _candidates(file: Path, name: str) -> Iterable[Path]:
    # As Windows programs write them.
    path = Path(name.replace("\\", "/")) if os.sep not in name else Path(name)
    yield path
    if path.is_absolute():
        return
    bases = (file.parent, *file.absolute().parents[1:3])
    yield from (base / path for base in bases)
    if path.parts[:1] == ("data",):
        yield file.parent / Path(*path.parts[1:])


def _locator(file: Path) -> Callable[[str], Path]:
    """Finds images that a list names, trying first what the image before was found by."""
    last = 1

    def locate(name: str) -> Path:
        nonlocal last
        candidates = list(_candidates(file, name))
        order = sorted(range(len(candidates)), key=lambda number: number != last)
        last = next((number for number in order if is_file(candidates[number])), last)
        # What is nowhere is named as if it lay beside the list.
        return candidates[last] if last < len(candidates) else candidates[-1]

    return locate


def _listed(path: Path) -> Iterable[tuple[int, str]]:
    # Names of files in a code page: these characters stand for the bytes that they were.
    try:
        lines = _LINE_END.split(read_bytes(path).decode("utf-8-sig"))
    except UnicodeDecodeError:
        data = read_bytes(path)
        if data.startswith(_UTF_16):
            lines = read_lines(path)
        else:
            lines = _LINE_END.split(data.decode("utf-8", "surrogateescape"))
    for number, line in enumerate(lines, start=1):
        if name := line.strip():
            if len(name) > _LONGEST_PATH or "\0" in name or not Path(name).name:
                raise DatasetError(f"{path}:{number}: {name[:40]!r} names no image")
            yield number, name


def is_file(path: Path) -> bool:
    """Whether a path is a file; a name that no file can have is none."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        # A name that is too long, or no name at all.
        return False
