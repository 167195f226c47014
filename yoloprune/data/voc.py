"""Pascal VOC annotations: an XML file for each image.

Layout: `Annotations/*.xml`, images in `JPEGImages`, `images` or beside, splits in
`ImageSets/Main/<split>.txt`. Pixels count from 1 and belong to the box, so that a box from 1 to 10
is 10 pixels wide. Objects marked difficult are left out, as by darknet's conversion script.

Format: M. Everingham et al., "The PASCAL Visual Object Classes Challenge 2012 Development Kit".
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn
from xml.etree import ElementTree
from xml.parsers import expat

import numpy as np

from yoloprune.data.dataset import WHOLE, RawDataset, RawImage
from yoloprune.data.images import IMAGE_SUFFIXES, read_lines
from yoloprune.data.labels import folder_names
from yoloprune.errors import DatasetError

_SIDES = ("xmin", "ymin", "xmax", "ymax")
# The years' own lists come also per class ("cat_train.txt"): those are no splits.
_SPLITS = ("train", "val", "valid", "test", "trainval")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Annotation:
    """One XML file: the image's file name, (height, width), and name and pixel box of objects."""

    filename: str
    size: tuple[int, int]
    names: tuple[str, ...]
    boxes: tuple[tuple[float, float, float, float], ...]


def is_voc(path: Path) -> bool:
    """Whether a folder holds Pascal VOC annotations."""
    return next((path / "Annotations").glob("*.xml"), None) is not None


def read_voc(root: Path, images: Path | None = None) -> RawDataset:
    """Read a Pascal VOC folder; `images` is the folder of the images, if it is another one.

    Class names come from a .names file, or else are those that occur, in alphabetical order. An XML
    file that makes no sense is a problem of its image. Raises `DatasetError` if a list of a split
    cannot be read.
    """
    parsed: dict[str, _Annotation | str] = {}
    for file in sorted((root / "Annotations").glob("*.xml")):
        try:
            parsed[file.stem] = _read_annotation(file)
        except DatasetError as error:
            parsed[file.stem] = str(error)
    found = {n for item in parsed.values() if isinstance(item, _Annotation) for n in item.names}
    names_file = folder_names(root)
    names = tuple(sorted(found)) if names_file is None else _names(names_file)
    folders = (images,) if images else (root / "JPEGImages", root / "images", root, _xmls(root))
    read = {stem: _raw_image(root, stem, item, names, folders) for stem, item in parsed.items()}
    splits = _splits(root)
    if not splits:
        return RawDataset(path=root, names=names, splits={WHOLE: tuple(read.values())})
    return RawDataset(
        path=root,
        names=names,
        splits={
            split: tuple(
                read[stem] if stem in read else _unannotated(root, stem, folders) for stem in stems
            )
            for split, stems in splits.items()
        },
    )


def parse_xml(data: bytes) -> ElementTree.Element:
    """Parse XML that declares no entities; raises `ValueError` if it is malformed or does."""

    def refuse(*_: object) -> NoReturn:
        # Entities that stand for others can grow a small file to any size.
        raise ValueError("a DOCTYPE is not allowed")

    builder = ElementTree.TreeBuilder()
    parser = expat.ParserCreate()
    parser.StartDoctypeDeclHandler = refuse
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.data
    try:
        parser.Parse(data, True)
    except (expat.ExpatError, LookupError) as error:
        raise ValueError(f"not well-formed XML: {error}") from None
    return builder.close()


def _read_annotation(file: Path) -> _Annotation:
    try:
        return _annotation(parse_xml(file.read_bytes()), file.stem)
    except OSError as error:
        raise DatasetError(f"{file}: cannot read the file: {error.strerror}") from error
    except ValueError as problem:
        raise DatasetError(f"{file}: {problem}") from None


def _annotation(root: ElementTree.Element, stem: str) -> _Annotation:
    if root.tag != "annotation":
        raise ValueError(f"expected <annotation>, found <{root.tag[:40]}>")
    width, height = (_number(root, f"size/{side}") for side in ("width", "height"))
    if min(width, height) < 1:
        raise ValueError(f"an image of {width:g}x{height:g} pixels")
    objects = [node for node in root.iter("object") if node.findtext("difficult", "0") != "1"]
    # The file name may hold folders of another machine.
    filename = (root.findtext("filename") or stem).strip().replace("\\", "/").rpartition("/")[2]
    return _Annotation(
        filename=filename,
        size=(int(height), int(width)),
        names=tuple(_name(node) for node in objects),
        boxes=tuple(_box(node) for node in objects),
    )


def _box(node: ElementTree.Element) -> tuple[float, float, float, float]:
    left, top, right, bottom = (_number(node, f"bndbox/{side}") for side in _SIDES)
    return left - 1, top - 1, right, bottom


def _name(node: ElementTree.Element) -> str:
    if not (name := (node.findtext("name") or "").strip()):
        raise ValueError("an object has no <name>")
    return name


def _number(node: ElementTree.Element, path: str) -> float:
    text = node.findtext(path)
    try:
        value = float(text or "")
    except ValueError:
        value = float("nan")
    if not abs(value) < 1e9:
        shown = "is missing" if text is None else f"is {text.strip()[:40]!r}, not a number"
        raise ValueError(f"<{path}> of <{node.tag}> {shown}")
    return value


def _raw_image(
    root: Path,
    stem: str,
    item: _Annotation | str,
    names: tuple[str, ...],
    folders: Sequence[Path],
) -> RawImage:
    file = _xmls(root) / f"{stem}.xml"
    if isinstance(item, str):
        return _image(_find_image("", stem, folders), file, problems=(item,))
    unknown = sorted(set(item.names).difference(names))
    if unknown:
        problem = f"{file}: class {unknown[0]!r} is not in the .names file"
        return _image(_find_image(item.filename, stem, folders), file, problems=(problem,))
    height, width = item.size
    boxes = np.array(item.boxes, np.float64).reshape(-1, 4) / (width, height, width, height)
    return RawImage(
        path=_find_image(item.filename, stem, folders),
        source=file,
        boxes=boxes,
        labels=np.array([names.index(name) for name in item.names], np.int64),
        places=tuple(f"{file}: object {number}" for number in range(1, len(boxes) + 1)),
        size=item.size,
    )


def _unannotated(root: Path, stem: str, folders: Sequence[Path]) -> RawImage:
    problem = f"{_xmls(root) / stem}.xml: listed in a split, but not there"
    return _image(_find_image("", stem, folders), None, problems=(problem,))


def _image(path: Path, source: Path | None, problems: tuple[str, ...]) -> RawImage:
    nothing = np.zeros((0, 4), np.float64), np.zeros(0, np.int64)
    return RawImage(
        path=path, source=source, boxes=nothing[0], labels=nothing[1], places=(), problems=problems
    )


def _find_image(filename: str, stem: str, folders: Sequence[Path]) -> Path:
    names = [filename] if filename else []
    names += [f"{stem}{suffix}" for suffix in sorted(IMAGE_SUFFIXES)]
    candidates = [folder / name for name in names for folder in folders]
    return next((path for path in candidates if path.is_file()), candidates[0])


def _splits(root: Path) -> dict[str, list[str]]:
    lists = {split: root / "ImageSets" / "Main" / f"{split}.txt" for split in _SPLITS}
    return {
        split: [line.split()[0] for line in read_lines(file) if line.strip()]
        for split, file in lists.items()
        if file.is_file()
    }


def _names(file: Path) -> tuple[str, ...]:
    return tuple(name for line in read_lines(file) if (name := line.strip()))


def _xmls(root: Path) -> Path:
    return root / "Annotations"
