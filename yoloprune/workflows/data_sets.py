"""Labeled data sets: checked, divided, and anchors fitted to their boxes."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from yoloprune.counting import counted
from yoloprune.data.anchors import (
    AnchorFit,
    Shapes,
    anchor_fit,
    cfg_anchors,
    format_anchors,
    input_shapes,
    network_anchors,
)
from yoloprune.data.check import Check, check_dataset, refuse_unlabeled, write_clean_copy
from yoloprune.data.faults import sound_boxes
from yoloprune.data.images import read_image_file
from yoloprune.data.inspection import image_size
from yoloprune.data.near_duplicates import NEAR
from yoloprune.data.preprocess import DARKNET_LETTERBOX, darknet_preprocess
from yoloprune.data.read import read_raw
from yoloprune.data.request import canonical
from yoloprune.data.split import Division, divide
from yoloprune.files import refuse_existing, refuse_inside
from yoloprune.frontends.darknet.parser import read_cfg
from yoloprune.frontends.darknet.zoo import COCO_ANCHORS
from yoloprune.report.shown import Result, Shown
from yoloprune.reporter import SILENT, Reporter

_DEFAULT_SIDE = 416
_SHOWN_FINDINGS = 5
_SHOWN_CLASSES = 20
_SIDES = (8, 16, 32, 64, 128, 256)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Reference:
    """Anchors to compare with, and the (height, width) of the input that boxes are seen at."""

    title: str
    anchors: Shapes
    size: tuple[int, int]
    letterbox: bool


def reference(cfg: str | Path | None = None, side: int | None = None) -> Reference:
    """A network's own anchors and size, or COCO's at 416 pixels; a `side` replaces the size."""
    if cfg is None:
        anchors = np.array(COCO_ANCHORS, np.float64)
        size = (side or _DEFAULT_SIDE,) * 2
        return Reference(title="COCO's", anchors=anchors, size=size, letterbox=False)
    spec = read_cfg(Path(cfg))
    _, height, width = spec.input_shape
    return Reference(
        title=str(cfg),
        anchors=network_anchors(spec),
        size=(height, width) if side is None else (side, side),
        letterbox=darknet_preprocess(spec) == DARKNET_LETTERBOX,
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class CheckedData(Result):
    """What is wrong with a data set, and how large its boxes are in a network's input.

    `shapes` (N, 2) are the boxes in pixels of the reference's input; `fit` says how well its
    anchors fit them, None where there are no boxes.
    """

    check: Check
    reference: Reference
    shapes: Shapes
    fit: AnchorFit | None

    def shown(self) -> Shown:
        """What each split holds, and the first findings of each kind; as JSON all of them."""
        check, fit = self.check, self.fit
        return Shown(
            title=f"Classes: {self._classes()}",
            summary=counted(len(check.images), "usable image")
            + f", {counted(len(check.findings), 'finding')}",
            header=("split", "images", "usable", "objects", "without objects"),
            rows=list(_split_rows(check)),
            lines=list(self._finding_lines()) or ["nothing is wrong"],
            document={
                "names": check.names,
                "splits": {
                    split: {"images": listed, "usable": usable, "objects": objects, "empty": empty}
                    for split, listed, usable, objects, empty in _split_rows(check)
                },
                "findings": [
                    {"fault": finding.fault.value, "where": finding.where, "text": finding.text}
                    for finding in check.findings
                ],
                "box_sides": dict(self._side_rows()),
                "anchors": None
                if fit is None
                else {"mean_iou": fit.mean_iou, "recall": fit.recall},
            },
        )

    def boxes(self) -> Shown:
        """How large the boxes are, and how well the anchors fit."""
        height, width = self.reference.size
        if self.fit is None:
            return Shown(title="Boxes", summary="no boxes", lines=["no boxes"])
        fit = (
            f"{self.reference.title} anchors: mean best IoU {self.fit.mean_iou:.4f}, best possible "
            f"recall at IoU 0.5 {self.fit.recall:.4f}"
        )
        return Shown(
            title=f"Box sides (root of the area) at {width}x{height}",
            summary=fit,
            header=("side, pixels", "boxes", "share"),
            rows=[
                (side, count, f"{count / len(self.shapes):.1%}")
                for side, count in self._side_rows()
            ],
            lines=[fit],
        )

    def _classes(self) -> str:
        """How many there are, and what the first are called, with their usable objects."""
        images, names = self.check.images, self.check.names
        counts = Counter(label for i in images for label in i.labeled.labels.tolist())
        shown = [f"{name} {counts[label]}" for label, name in enumerate(names)]
        more = ", ..." if len(shown) > _SHOWN_CLASSES else ""
        return f"{len(shown)} ({', '.join(shown[:_SHOWN_CLASSES])}{more})"

    def _finding_lines(self) -> Iterator[str]:
        by_fault: dict[str, list[str]] = {}
        for finding in self.check.findings:
            line = f"  {finding.where}: {finding.text}"
            by_fault.setdefault(finding.fault.value, []).append(line)
        for fault, lines in by_fault.items():
            yield f"{fault}: {len(lines)}"
            yield from lines[:_SHOWN_FINDINGS]
            if len(lines) > _SHOWN_FINDINGS:
                yield f"  and {len(lines) - _SHOWN_FINDINGS} more (--json lists all)"

    def _side_rows(self) -> Iterator[tuple[str, int]]:
        """How many boxes have sides in each range of pixels."""
        bins = np.bincount(
            np.searchsorted(_SIDES, np.sqrt(self.shapes.prod(axis=1)), side="right"),
            minlength=len(_SIDES) + 1,
        )
        edges = [0, *_SIDES]
        titles = [f"{low} to {high}" for low, high in pairwise(edges)]
        yield from zip([*titles, f"from {edges[-1]}"], bins.tolist(), strict=True)


def check_data(
    path: str | Path,
    *,
    clean_copy: str | Path | None = None,
    cfg: str | Path | None = None,
    images: str | Path | None = None,
    allow_faulty: bool = False,
    reporter: Reporter = SILENT,
) -> CheckedData:
    """Find out what is wrong with the images and labels of a data set, which stays as it is.

    A `clean_copy` is written into that folder; of VOC or COCO files the `images` may be elsewhere;
    boxes are seen at the input size of the network `cfg`. Raises `DatasetError` where most images
    have no labels, unless `allow_faulty`.
    """
    path, against = Path(path), reference(cfg)
    if clean_copy is not None:
        refuse_existing(Path(clean_copy))
        refuse_inside(Path(clean_copy), path)
    raw = read_raw(path, None if images is None else Path(images))
    checked = check_dataset(raw, reporter=reporter)
    if not allow_faulty:
        refuse_unlabeled(checked, path, most=clean_copy is not None)
    shapes = input_shapes(
        (image.labeled.boxes for image in checked.images),
        (image.size for image in checked.images),
        against.size,
        letterbox=against.letterbox,
    )
    if clean_copy is not None:
        write_clean_copy(checked, Path(clean_copy), path.stem or "data")
    fit = anchor_fit(shapes, against.anchors) if len(shapes) else None
    return CheckedData(check=checked, reference=against, shapes=shapes, fit=fit)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class Anchors(Result):
    """Anchors (K, 2) in pixels of the reference's input, and how well they and its own fit."""

    anchors: Shapes
    reference: Reference
    boxes: int
    before: AnchorFit
    after: AnchorFit

    def shown(self) -> Shown:
        """Both fits, and the anchors as a cfg has them."""
        height, width = self.reference.size
        rows = (
            (self.reference.title, self.reference.anchors, self.before),
            ("fitted", self.anchors, self.after),
        )
        line = f"anchors = {format_anchors(self.anchors)}"
        return Shown(
            title=(
                f"{self.boxes} boxes at {width}x{height}"
                f"{' (letterbox)' if self.reference.letterbox else ''}"
            ),
            summary=line,
            header=("anchors", "number", "mean best IoU", "recall at IoU 0.5"),
            rows=[
                (name, len(anchors), f"{fit.mean_iou:.4f}", f"{fit.recall:.4f}")
                for name, anchors, fit in rows
            ],
            lines=[line],
            document={
                "anchors": self.anchors.tolist(),
                "boxes": self.boxes,
                "size": [height, width],
                "before": {"mean_iou": self.before.mean_iou, "recall": self.before.recall},
                "after": {"mean_iou": self.after.mean_iou, "recall": self.after.recall},
            },
        )


def fit_anchors(
    path: str | Path,
    count: int = 9,
    *,
    against: Reference | None = None,
    split: str | None = None,
    images: str | Path | None = None,
    seed: int = 0,
    reporter: Reporter = SILENT,
) -> Anchors:
    """Fit `count` anchors to the boxes of a data set by k-means.

    The boxes are those of the `split`: by default of the training images or, without such a split,
    of all. They are seen at the size of the reference, by default 416 pixels. Raises `DatasetError`
    where they have too few different shapes.
    """
    against = against or reference()
    splits = read_raw(Path(path), None if images is None else Path(images), split).splits
    training = [images for name, images in splits.items() if canonical(name) == "train"]
    chosen = splits.values() if split is not None else training or splits.values()
    used = [image for images in chosen for image in images if len(image.boxes)]
    # Stretched, every image fills the input, whatever its size.
    sizes: Iterable[tuple[int, int]] = [(1, 1)] * len(used)
    if against.letterbox:
        sizes = [
            image_size(read_image_file(image.path), image.path)
            for image in reporter.track(used, "reading sizes")
        ]
    boxes = (sound_boxes(image) for image in used)
    shapes = input_shapes(boxes, sizes, against.size, letterbox=against.letterbox)
    found = cfg_anchors(shapes, count, seed=seed)
    return Anchors(
        anchors=found,
        reference=against,
        boxes=len(shapes),
        before=anchor_fit(shapes, against.anchors),
        after=anchor_fit(shapes, found),
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class Divided(Result):
    """A copy of a data set in new splits; `findings` are how many faults the original has."""

    division: Division
    findings: int
    folder: Path

    def shown(self) -> Shown:
        """What each split holds, and what was kept together."""
        rows = list(_split_rows(self.division.check))
        alike, largest = self.division.groups, max(self.division.groups, default=0)
        line = (
            f"groups of near-duplicates, each on one side: {len(alike)} "
            f"({sum(alike)} images, at most {largest} alike)"
        )
        counts = ", ".join(f"{count} {name}" for name, _, count, _, _ in rows)
        return Shown(
            title=f"{self.folder}",
            summary=f"{self.folder}: {counts} images; {line}",
            header=("split", "images", "objects", "without objects"),
            rows=[(name, *counts) for name, _, *counts in rows],
            lines=[line],
            document={
                "splits": {
                    name: {"images": count, "objects": objects, "empty": empty}
                    for name, _, count, objects, empty in rows
                },
                "near_duplicates": {
                    "groups": len(alike),
                    "images": sum(alike),
                    "largest": largest,
                },
                "findings": self.findings,
            },
        )


def split_data(
    path: str | Path,
    out: str | Path,
    *,
    val: float = 0.1,
    test: float = 0.0,
    near: int = NEAR,
    images: str | Path | None = None,
    seed: int = 0,
    reporter: Reporter = SILENT,
) -> Divided:
    """Write a copy divided into train, val and test; near-duplicates stay on one side.

    `val` and `test` are fractions of the images; hashes of near-duplicates differ in at most `near`
    bits. Raises `DatasetError` where a split would have no image.
    """
    path, out = Path(path), Path(out)
    refuse_existing(out)
    refuse_inside(out, path)
    shares = {"train": 1 - val - test, "val": val} | ({"test": test} if test else {})
    raw = read_raw(path, None if images is None else Path(images))
    checked = check_dataset(raw, reporter=reporter)
    division = divide(checked, shares, near=near, seed=seed, reporter=reporter)
    write_clean_copy(division.check, out, path.stem or "data")
    if checked.findings:
        reporter.warn(
            f"{len(checked.findings)} faults of images and labels are mended or left out: "
            "`yoloprune data check` lists them"
        )
    if (largest := max(division.groups, default=0)) > 0.1 * len(checked.images):
        reporter.warn(
            f"{largest} of {len(checked.images)} images are near-duplicates of one another and on "
            "one side: fewer bits for `near` tell more of them apart"
        )
    return Divided(division=division, findings=len(checked.findings), folder=out)


def _split_rows(checked: Check) -> Iterator[tuple[str, int, int, int, int]]:
    """Split, images, usable ones, objects in them, and usable images without objects."""
    for split, images in checked.splits.items():
        counts = [len(image.labeled.labels) for image in images]
        yield split, checked.listed[split], len(images), sum(counts), counts.count(0)
