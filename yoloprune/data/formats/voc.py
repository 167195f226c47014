"""Pascal VOC annotations: an XML file for each image.

Layouts: `Annotations/*.xml` with images in `JPEGImages`, `images` or beside, and splits in
`ImageSets/Main/<split>.txt`; or the XML files beside the images of each split, or in a folder
`annotations` beside theirs (labelImg, Roboflow). Pixels count from 1 and belong to the box, so that
a box from 1 to 10 is 10 pixels wide. Objects marked difficult are left out, as by darknet's
conversion script.

Format: M. Everingham et al., "The PASCAL Visual Object Classes Challenge 2012 Development Kit".
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn
from xml.etree import ElementTree
from xml.parsers import expat

import numpy as np

from yoloprune.data.dataset import WHOLE, RawDataset, RawImage
from yoloprune.data.formats.yolo_labels import label_path, unlabeled
from yoloprune.data.images import IMAGE_SUFFIXES, images_below, is_image
from yoloprune.data.inspection import image_size
from yoloprune.data.request import Request
from yoloprune.data.text_files import is_file, names_in, read_bytes, read_lines
from yoloprune.errors import DatasetError

_SIDES = ("xmin", "ymin", "xmax", "ymax")
_ANNOTATIONS = ("Annotations", "annotations", "labels")
_MOST_BYTES = 8 << 20
_MOST_OBJECTS = 20_000
_DEEPEST = 100
_XML = "*.[xX][mM][lL]"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Annotation:
    """One XML file: the image's file name, (height, width), and name and pixel box of objects."""

    filename: str
    size: tuple[int, int] | None
    difficult: int
    names: tuple[str, ...]
    boxes: tuple[tuple[float, float, float, float], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Item:
    """An image to be, by its annotation (which may not exist) and the folders to find it in."""

    xml: Path
    folders: tuple[Path, ...]
    image: Path | None = None


def recognizes(path: Path) -> bool:
    """Whether a folder holds Pascal VOC annotations."""
    return path.is_dir() and bool(_classic(path) or _inside(path) or _beside(path))


def read(root: Path, request: Request) -> RawDataset:
    """Read a Pascal VOC folder; `request.images` is the folder of the images, if another one.

    Class names come from a .names file or CVAT's labelmap.txt, or else are those that occur, in
    alphabetical order. An XML file that makes no sense is a problem of its image. Raises
    `DatasetError` if a list of a split cannot be read.
    """
    annotations = _classic(root)
    if annotations is None and (inner := _inside(root)) is not None:
        raise DatasetError(f"{root}: the Pascal VOC data is in {inner}: give that folder")
    if annotations is None:
        splits: Mapping[str, Sequence[_Item]] = _beside(root)
    else:
        splits = _classic_splits(root, annotations, request.images)
    chosen = request.chosen(splits, root)
    names = names_in(root) or _labelmap(root)
    # Without names, the classes are those of all splits.
    wanted = chosen if names else splits
    parsed = {item.xml: _parsed(item.xml) for split in wanted for item in splits[split]}
    if names is None:
        found = {n for a in parsed.values() if isinstance(a, _Annotation) for n in a.names}
        names = tuple(sorted(found))
    return RawDataset(
        path=root,
        names=names,
        splits={
            split: tuple(
                _raw_image(item, parsed[item.xml], names) for item in splits[split][: request.limit]
            )
            for split in chosen
        },
    )


def _classic(root: Path) -> Path | None:
    """The folder of all annotations."""
    folders = (root / name for name in _ANNOTATIONS[:2])
    return next((folder for folder in folders if next(folder.rglob(_XML), None)), None)


def _inside(root: Path) -> Path | None:
    """The folder of a year in an unpacked archive, VOCdevkit/VOC2012."""
    found = (f for pattern in ("*/Annotations", "*/*/Annotations") for f in root.glob(pattern))
    return next((f.parent for f in found if (f.parent / "JPEGImages").is_dir()), None)


def _classic_splits(root: Path, annotations: Path, images: Path | None) -> dict[str, list[_Item]]:
    folders = (images,) if images else (root / "JPEGImages", root / "images", root, annotations)

    def item(key: Path) -> _Item:
        places = tuple(folder / key.parent for folder in folders)
        return _Item(xml=_in_any_case(annotations / f"{key}.xml"), folders=places + folders)

    lists = _image_sets(root)
    if lists:
        return {split: [item(Path(key)) for key in keys] for split, keys in lists.items()}
    splits: dict[str, list[_Item]] = {}
    for file in sorted(annotations.rglob(_XML)):
        key = file.relative_to(annotations).with_suffix("")
        split = key.parts[0] if len(key.parts) > 1 else WHOLE
        splits.setdefault(split, []).append(item(key))
    return splits


def _in_any_case(xml: Path) -> Path:
    upper = xml.with_suffix(".XML")
    return upper if not xml.exists() and upper.exists() else xml


def _image_sets(root: Path) -> dict[str, list[str]]:
    """Names of the images of each split that ImageSets/Main lists."""
    files = sorted((root / "ImageSets" / "Main").glob("*.txt"))
    # The years' own lists come also per class ("cat_train.txt"): those are no splits.
    stems = {file.stem for file in files}
    files = [f for f in files if not any(f.stem.endswith(f"_{stem}") for stem in stems)]
    if {"train", "val"} <= stems:
        files = [file for file in files if file.stem != "trainval"]
    lists = {
        file.stem: list(dict.fromkeys(_key(line) for line in read_lines(file) if line.strip()))
        for file in files
    }
    return {split: keys for split, keys in lists.items() if keys}


def _key(line: str) -> str:
    """The image that a line of a split names: CVAT writes folders, others suffixes."""
    name = line.strip().replace("\\", "/")
    # A second column says whether the image shows a class.
    name = name.rpartition(" ")[0].strip() if name.endswith((" 1", " -1", " 0")) else name
    path = Path(name.replace("\0", ""))
    if path.suffix.lower() in IMAGE_SUFFIXES:
        path = path.with_suffix("")
    return path.as_posix() if not path.is_absolute() and ".." not in path.parts else path.name


def _beside(root: Path) -> dict[str, list[_Item]]:
    """Splits of a folder whose XML files lie beside the images, or beside their folder."""
    pictures = root / "images" if (root / "images").is_dir() else root
    folders = {folder.name: folder for folder in sorted(pictures.iterdir()) if folder.is_dir()}
    splits = {}
    for split, folder in {WHOLE: root, **folders}.items():
        if split in (*_ANNOTATIONS, "images", "JPEGImages") or split.startswith("."):
            continue
        if items := list(_items_beside(folder, deep=split != WHOLE)):
            splits[split] = items
    return splits


def _items_beside(folder: Path, *, deep: bool) -> Iterator[_Item]:
    inner = next((p for p in (folder / "images", folder / "JPEGImages") if p.is_dir()), folder)
    if deep or inner != folder:
        images: Iterable[Path] = images_below(inner)
    else:
        images = sorted(filter(is_image, folder.iterdir()))
    places = [folder / name for name in _ANNOTATIONS]
    items = []
    for image in images:
        candidates = [image.with_suffix(".xml"), *(p / f"{image.stem}.xml" for p in places)]
        candidates = [_in_any_case(path) for path in candidates]
        xml = next((path for path in candidates if path.is_file()), candidates[0])
        items.append(_Item(xml=xml, folders=(image.parent,), image=image))
    annotated = sum(item.xml.is_file() for item in items)
    # labelImg may have left XML files beside the label files that are used.
    texts = sum(item.image.with_suffix(".txt").is_file() for item in items if item.image)
    if annotated > texts:
        yield from items


def _labelmap(root: Path) -> tuple[str, ...] | None:
    """Names of CVAT's labelmap.txt: `name:color:parts:actions`, background included."""
    file = root / "labelmap.txt"
    if not file.is_file():
        return None
    lines = [line.strip() for line in read_lines(file)]
    names = [line.partition(":")[0] for line in lines if line and not line.startswith("#")]
    return tuple(name for name in names if name and name != "background") or None


def parse_xml(data: bytes) -> ElementTree.Element:
    """Parse XML that declares no entities; raises `ValueError` if it is malformed or does."""
    depth = 0

    def refuse(*_: object) -> NoReturn:
        # Entities that stand for others can grow a small file to any size.
        raise ValueError("a DOCTYPE is not allowed")

    def start(tag: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        if depth > _DEEPEST:
            raise ValueError(f"elements are nested more than {_DEEPEST} deep")
        builder.start(tag, attributes)

    def end(tag: str) -> None:
        nonlocal depth
        depth -= 1
        builder.end(tag)

    builder = ElementTree.TreeBuilder()
    parser = expat.ParserCreate()
    parser.StartDoctypeDeclHandler = refuse
    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = builder.data
    try:
        parser.Parse(data, True)
    except (expat.ExpatError, LookupError) as error:
        raise ValueError(f"not well-formed XML: {error}") from None
    return builder.close()


def _parsed(file: Path) -> _Annotation | str:
    """An annotation, or what is wrong with it."""
    try:
        return _annotation(parse_xml(read_bytes(file, _MOST_BYTES)), file.stem)
    except DatasetError as error:
        return str(error)
    except ValueError as problem:
        return f"{file}: {problem}"


def _annotation(root: ElementTree.Element, stem: str) -> _Annotation:
    if root.tag != "annotation":
        raise ValueError(f"expected <annotation>, found <{root.tag[:40]}>")
    found = list(root.iter("object"))
    if not found and root.find(".//bndbox") is not None:
        raise ValueError("boxes that belong to no <object>")
    if len(found) > _MOST_OBJECTS:
        raise ValueError(f"{len(found)} objects: assumed damaged")
    objects = [node for node in found if node.findtext("difficult", "0") != "1"]
    size = None
    if root.find("size") is not None or not objects:
        width, height = (_number(root, f"size/{side}") for side in ("width", "height"))
        # labelImg writes 0x0 where it could not read the image.
        if min(width, height) >= 1:
            size = (int(height), int(width))
    # The file name may hold folders of another machine.
    filename = (root.findtext("filename") or stem).strip().replace("\\", "/").rpartition("/")[2]
    return _Annotation(
        filename=filename.replace("\0", ""),
        size=size,
        difficult=len(found) - len(objects),
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


def _raw_image(item: _Item, annotation: _Annotation | str, names: tuple[str, ...]) -> RawImage:
    file = item.xml
    stem = file.stem
    if isinstance(annotation, str):
        path = item.image or _find_image("", stem, item.folders)
        if not file.is_file():
            if item.image is not None and (text := label_path(path)) is not None:
                return unlabeled(path, [f"{text}: a label file among XML files: not read"], text)
            if item.image is not None:
                return unlabeled(path)
            return unlabeled(path, [f"{file}: listed in a split, but not there"])
        return unlabeled(path, [annotation], file)
    path = item.image or _find_image(annotation.filename, stem, item.folders)
    unknown = sorted(set(annotation.names).difference(names))
    if unknown:
        return unlabeled(path, [f"{file}: class {unknown[0]!r} is not in the .names file"], file)
    size = annotation.size
    if size is None:
        try:
            size = image_size(read_bytes(path), path)
        except DatasetError as error:
            if is_file(path):
                return unlabeled(path, [f"{file}: no <size>, and {error}"], file)
            size = (1, 1)
    height, width = size
    boxes = np.array(annotation.boxes, np.float64).reshape(-1, 4)
    # Programs that count from 0, and those that end behind the last pixel, are off by one.
    extent = np.array((width, height, width, height), np.float64)
    off_by_one = (boxes >= -1) & (boxes <= extent + 1)
    boxes = np.where(off_by_one, boxes.clip(0, extent), boxes)
    return RawImage(
        path=path,
        source=file,
        boxes=boxes / extent,
        labels=np.array([names.index(name) for name in annotation.names], np.int64),
        places=tuple(f"{file}: object {number}" for number in range(1, len(boxes) + 1)),
        size=annotation.size,
        ignored=annotation.difficult,
    )


def _find_image(filename: str, stem: str, folders: Sequence[Path]) -> Path:
    """The image of an annotation: by its id, for file names are those of before a renaming."""
    names = [f"{stem}{suffix}" for suffix in sorted(IMAGE_SUFFIXES)]
    if filename:
        names.insert(0 if Path(filename).stem == stem else len(names), filename)
    candidates = [folder / name for name in names for folder in folders]
    return next((path for path in candidates if is_file(path)), candidates[0])
