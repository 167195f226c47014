"""What `data check` shows of a data set."""

from collections import Counter
from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from yoloprune.cli.console import output, print_table
from yoloprune.data.anchors import AnchorFit, Shapes
from yoloprune.data.check import Check

_SHOWN_FINDINGS = 5
_SHOWN_CLASSES = 20
_SIDES = (8, 16, 32, 64, 128, 256)


def check_document(checked: Check, shapes: Shapes, fit: AnchorFit | None) -> dict[str, object]:
    """What was found, for JSON: `shapes` (N, 2) are the boxes in pixels of the input."""
    return {
        "names": checked.names,
        "splits": {
            split: {"images": listed, "usable": usable, "objects": objects, "empty": empty}
            for split, listed, usable, objects, empty in split_rows(checked)
        },
        "findings": [
            {"fault": finding.fault.value, "where": finding.where, "text": finding.text}
            for finding in checked.findings
        ],
        "box_sides": dict(_side_rows(shapes)),
        "anchors": None if fit is None else {"mean_iou": fit.mean_iou, "recall": fit.recall},
    }


def print_check(checked: Check) -> None:
    """Print what each split holds, and the first findings of each kind."""
    header = ("split", "images", "usable", "objects", "without objects")
    print_table(f"Classes: {_classes(checked)}", header, list(split_rows(checked)))
    by_fault: dict[str, list[str]] = {}
    for finding in checked.findings:
        line = f"  {finding.where}: {finding.text}"
        by_fault.setdefault(finding.fault.value, []).append(line)
    for fault, lines in by_fault.items():
        output.print(f"{fault}: {len(lines)}", style="bold")
        for line in lines[:_SHOWN_FINDINGS]:
            output.print(line, soft_wrap=True)
        if len(lines) > _SHOWN_FINDINGS:
            output.print(f"  and {len(lines) - _SHOWN_FINDINGS} more (--json lists all)")
    if not by_fault:
        output.print("nothing is wrong")


def _classes(checked: Check) -> str:
    """How many there are, and what the first are called, with their usable objects."""
    counts = Counter(label for i in checked.images for label in i.labelled.labels.tolist())
    shown = [f"{name} {counts[label]}" for label, name in enumerate(checked.names)]
    more = ", ..." if len(shown) > _SHOWN_CLASSES else ""
    return f"{len(shown)} ({', '.join(shown[:_SHOWN_CLASSES])}{more})"


def print_shapes(shapes: Shapes, size: tuple[int, int], title: str, fit: AnchorFit | None) -> None:
    """Print how large the boxes are at an input of (height, width), and how well anchors fit."""
    if fit is None:
        output.print("no boxes")
        return
    rows = [(side, count, f"{count / len(shapes):.1%}") for side, count in _side_rows(shapes)]
    header = ("side, pixels", "boxes", "share")
    print_table(f"Box sides (root of the area) at {size[1]}x{size[0]}", header, rows)
    output.print(
        f"{title} anchors: mean best IoU {fit.mean_iou:.4f}, best possible recall at IoU 0.5 "
        f"{fit.recall:.4f}"
    )


def split_rows(checked: Check) -> Iterator[tuple[str, int, int, int, int]]:
    """Split, images, usable ones, objects in them, and usable images without objects."""
    for split, images in checked.splits.items():
        counts = [len(image.labelled.labels) for image in images]
        yield split, checked.listed[split], len(images), sum(counts), counts.count(0)


def _side_rows(shapes: Shapes) -> Iterator[tuple[str, int]]:
    """How many boxes have sides in each range of pixels."""
    bins = np.bincount(
        np.searchsorted(_SIDES, np.sqrt(shapes.prod(axis=1)), side="right"),
        minlength=len(_SIDES) + 1,
    )
    edges = [0, *_SIDES]
    titles = [f"{low} to {high}" for low, high in pairwise(edges)]
    yield from zip([*titles, f"from {edges[-1]}"], bins.tolist(), strict=True)
