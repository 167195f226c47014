"""From the raw maps of Darknet heads to boxes and scores, as nodes.

The same boxes in the same order as `yoloprune.detection.decode`, which names the sources of the
formulas. B images, A anchors of a head, E entries a box, C classes, h x w cells.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import assert_never

import numpy as np
from numpy.typing import ArrayLike, NDArray

from yoloprune.frontends.darknet.shapes import Shape
from yoloprune.frontends.darknet.spec import (
    AnyHead,
    GaussianYolo,
    NetworkSpec,
    Region,
    Yolo,
    class_count,
)
from yoloprune.graph.builder import GraphBuilder

_ENTRIES = 3
"""The axis of E in (B, h w, A, E)."""


def raw_map(head: AnyHead) -> str:
    """Name of the value that a head reads: (B, A E, h, w)."""
    return f"head_{head.index}"


def lower_boxes(
    graph: GraphBuilder, spec: NetworkSpec, shapes: Sequence[Shape]
) -> dict[str, tuple[int, int]]:
    """Add `boxes` (B, N, 4), xyxy in input pixels, and `scores` (B, N, C), objectness times class.

    The raw maps are there already; `shapes` are those of all layers. Gives the shapes of the two
    for one image. Raises `CfgError` if there is no head, or no common number of classes.
    """
    classes = class_count(spec)
    found = [_decoded(graph, head, shapes[head.index], spec.input_shape) for head in spec.heads]
    count = sum(len(head.anchors) * math.prod(shapes[head.index][1:]) for head in spec.heads)
    boxes, scores = zip(*found, strict=True)
    return {
        _joined(graph, "boxes", boxes): (count, 4),
        _joined(graph, "scores", scores): (count, classes),
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class _Terms:
    """What boxes and scores are made of, each (B, h w, A, .).

    `offset` is that of the middle from the cell's corner, in cells, `half` half of width and height
    in input pixels.
    """

    offset: str
    half: str
    objectness: str
    classes: str


class _Writer:
    """Adds the nodes of one head, under its name, around its entries (B, h w, A, E)."""

    def __init__(self, graph: GraphBuilder, name: str, entries: str) -> None:
        self.graph = graph
        self.name = name
        self.entries = entries

    def part(self, what: str, start: int, end: int, of: str | None = None) -> str:
        """Some of the entries."""
        return self.graph.part(f"{self.name}.{what}", of or self.entries, _ENTRIES, start, end)

    def apply(self, operator: str, what: str, *values: str) -> str:
        """An operator without attributes."""
        return self.graph.node(f"{self.name}.{what}", operator, *values)

    def constant(self, what: str, numbers: ArrayLike) -> str:
        """Fixed numbers."""
        return self.graph.constant(f"{self.name}.{what}", numbers)

    def scaled(self, what: str, value: str, factor: ArrayLike) -> str:
        """A value times fixed numbers."""
        return self.apply("Mul", what, value, self.constant(f"{what}_factor", factor))


def _decoded(
    graph: GraphBuilder, head: AnyHead, shape: Shape, input_shape: Shape
) -> tuple[str, str]:
    """Boxes (B, h w A, 4) and scores (B, h w A, C) of one head."""
    raw = raw_map(head)
    name = f"{raw}.decode"
    _, rows, columns = shape
    cells, count = rows * columns, len(head.anchors)
    anchors = np.array(head.anchors)  # (A, 2)
    stride = np.array((input_shape[2] / columns, input_shape[1] / rows))  # (2,)
    split = (0, count, head.box_entries + head.classes, cells)
    entries = graph.node(
        f"{name}.entries",
        "Transpose",
        graph.reshape(f"{name}.split", raw, split),
        perm=(0, 3, 1, 2),
    )
    writer = _Writer(graph, name, entries)
    stretch = 1.0
    match head:
        case Yolo():
            terms, stretch = _yolo(writer, head, anchors), head.scale_x_y
        case GaussianYolo():
            terms, stretch = _gaussian(writer, head, anchors, cells), head.scale_x_y
        case Region():
            terms = _region(writer, head, anchors * stride)
        case _:
            assert_never(head)
    # Input pixels: (offset * stretch - (stretch - 1) / 2 + cell) * stride.
    corners = (_cells(rows, columns) - (stretch - 1) / 2) * stride  # (h w, 1, 2)
    moved = writer.scaled("moved", terms.offset, stretch * stride)
    middle = writer.apply("Add", "middle", moved, writer.constant("cells", corners))
    low = writer.apply("Sub", "low", middle, terms.half)
    high = writer.apply("Add", "high", middle, terms.half)
    boxes = graph.node(f"{name}.corners", "Concat", low, high, axis=_ENTRIES)
    scores = writer.apply("Mul", "products", terms.classes, terms.objectness)
    return (
        graph.reshape(f"{name}.boxes", boxes, (0, cells * count, 4)),
        graph.reshape(f"{name}.scores", scores, (0, cells * count, head.classes)),
    )


def _yolo(writer: _Writer, head: Yolo, anchors: NDArray[np.float64]) -> _Terms:
    offset, size = writer.part("xy", 0, 2), writer.part("wh", 2, 4)
    objectness = writer.part("objectness", 4, 5)
    classes = writer.part("classes", 5, 5 + head.classes)
    if head.new_coords:
        # The convolution before the head has applied the logistic function already.
        square = writer.apply("Mul", "wh_square", size, size)
        half = writer.scaled("half", square, 2 * anchors)
        return _Terms(offset=offset, half=half, objectness=objectness, classes=classes)
    return _Terms(
        offset=writer.apply("Sigmoid", "offset", offset),
        half=writer.scaled("half", writer.apply("Exp", "wh_exp", size), anchors / 2),
        objectness=writer.apply("Sigmoid", "objectness_sigmoid", objectness),
        classes=writer.apply("Sigmoid", "classes_sigmoid", classes),
    )


def _gaussian(
    writer: _Writer, head: GaussianYolo, anchors: NDArray[np.float64], cells: int
) -> _Terms:
    # Each of x, y, w, h has its doubt behind it. Two reshapes tell them apart: fewer engines know a
    # slice with a step.
    graph, name, count = writer.graph, writer.name, len(anchors)
    pairs = graph.reshape(f"{name}.pairs", writer.part("box", 0, 8), (0, cells, 4 * count, 2))
    box, doubts = (
        graph.reshape(
            f"{name}.{what}", writer.part(f"{what}_column", i, i + 1, pairs), (0, cells, count, 4)
        )
        for i, what in enumerate(("xywh", "doubts"))
    )
    doubts = writer.apply("Sigmoid", "doubts_sigmoid", doubts)
    doubt = graph.node(f"{name}.doubt", "ReduceMean", doubts, axes=(_ENTRIES,), keepdims=1)
    trust = writer.apply("Sub", "trust", writer.constant("one", 1.0), doubt)
    seen = writer.apply("Sigmoid", "seen", writer.part("objectness", 8, 9))
    size = writer.apply("Exp", "wh_exp", writer.part("wh", 2, 4, box))
    classes = writer.part("classes", 9, 9 + head.classes)
    return _Terms(
        offset=writer.apply("Sigmoid", "offset", writer.part("xy", 0, 2, box)),
        half=writer.scaled("half", size, anchors / 2),
        objectness=writer.apply("Mul", "trusted", seen, trust),
        classes=writer.apply("Sigmoid", "classes_sigmoid", classes),
    )


def _region(writer: _Writer, head: Region, anchors: NDArray[np.float64]) -> _Terms:
    size = writer.apply("Exp", "wh_exp", writer.part("wh", 2, 4))
    classes = writer.part("classes", 5, 5 + head.classes)
    return _Terms(
        offset=writer.apply("Sigmoid", "offset", writer.part("xy", 0, 2)),
        half=writer.scaled("half", size, anchors / 2),
        objectness=writer.apply("Sigmoid", "objectness_sigmoid", writer.part("objectness", 4, 5)),
        classes=writer.graph.node(f"{writer.name}.softmax", "Softmax", classes, axis=_ENTRIES),
    )


def _joined(graph: GraphBuilder, name: str, values: Sequence[str]) -> str:
    if len(values) == 1:
        return graph.node(name, "Identity", values[0])
    return graph.node(name, "Concat", *values, axis=1)


def _cells(rows: int, columns: int) -> NDArray[np.int64]:  # -> (h w, 1, 2)
    """(column, row) of every cell, row by row."""
    y, x = np.divmod(np.arange(rows * columns), columns)
    return np.stack((x, y), axis=-1)[:, None]
