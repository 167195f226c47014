"""From the raw maps of the heads to boxes.

B images, N boxes an image (over all heads), C classes, A anchors of a head, E entries a box,
h x w cells. Boxes are ordered by head, row, column, anchor, as in OpenCV's importer.

Only tensor operations whose shapes follow from the spec: this can be traced and exported.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from yoloprune.devices import constant
from yoloprune.errors import CfgError
from yoloprune.frontends.darknet.spec import (
    GaussianYolo,
    Head,
    NetworkSpec,
    Region,
    Yolo,
    class_count,
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Predictions:
    """Every box of a batch.

    `boxes` (B, N, 4) xyxy in input pixels, `objectness` (B, N) and `classes` (B, N, C) in [0, 1];
    the score of a class is their product. `suppressed`: no object has several boxes.
    """

    boxes: Tensor
    objectness: Tensor
    classes: Tensor
    suppressed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Detections:
    """What was found in one image: boxes (N, 4) xyxy in pixels, scores (N,), labels (N,) int64."""

    boxes_xyxy: Tensor
    scores: Tensor
    labels: Tensor


def decode(spec: NetworkSpec, maps: Sequence[Tensor]) -> Predictions:
    """Decode raw head maps, (B, A E, h, w) each, of images that have the spec's input size.

    Formulas: darknet `src/yolo_layer.c`, `src/region_layer.c`, `src/gaussian_yolo_layer.c`. Raises
    `CfgError` if the network has no head, or heads with different numbers of classes.
    """
    class_count(spec)
    heads = [
        _decode_head(head, raw, spec.input_shape)
        for head, raw in zip(spec.heads, maps, strict=True)
    ]
    return Predictions(
        boxes=torch.cat([head.boxes for head in heads], dim=1),
        objectness=torch.cat([head.objectness for head in heads], dim=1),
        classes=torch.cat([head.classes for head in heads], dim=1),
    )


def _decode_head(head: Head, raw: Tensor, input_shape: tuple[int, int, int]) -> Predictions:
    batch, _, rows, columns = raw.shape
    entries = head.box_entries + head.classes
    split = raw.reshape(batch, len(head.anchors), entries, rows, columns)
    t = split.permute(0, 3, 4, 1, 2)  # (B, h, w, A, E)
    cells = _cells(rows, columns, raw)  # (h, w, 1, 2)
    stride = raw.new_tensor((input_shape[2] / columns, input_shape[1] / rows))  # (2,)
    anchors = raw.new_tensor(head.anchors)  # (A, 2)
    match head:
        case Yolo():
            scores = t[..., 4:] if head.new_coords else torch.sigmoid(t[..., 4:])
            objectness, classes = scores[..., 0], scores[..., 1:]
            center, size = _yolo_box(head, t, anchors)
        case GaussianYolo():
            scores = torch.sigmoid(t[..., 8:])
            size = anchors * torch.exp(t[..., 4:8:2])
            doubt = torch.sigmoid(t[..., 1:8:2]).mean(dim=-1)
            objectness, classes = scores[..., 0] * (1 - doubt), scores[..., 1:]
            center = _stretched(torch.sigmoid(t[..., 0:4:2]), head.scale_x_y)
        case Region():
            size = anchors * stride * torch.exp(t[..., 2:4])
            objectness, classes = torch.sigmoid(t[..., 4]), torch.softmax(t[..., 5:], dim=-1)
            center = torch.sigmoid(t[..., :2])
        case _:
            raise CfgError(f"{head.title}: its boxes cannot be decoded")
    middle = (center + cells) * stride
    boxes = torch.cat((middle - size / 2, middle + size / 2), dim=-1)  # (B, h, w, A, 4)
    return Predictions(
        boxes=boxes.reshape(batch, -1, 4),
        objectness=objectness.reshape(batch, -1),
        classes=classes.reshape(batch, -1, head.classes),
    )


def decode_yolo_boxes(head: Yolo, t: Tensor, size: tuple[int, int]) -> Tensor:
    """Boxes of a [yolo] head for training: t (B, A, h, w, 5 + C) -> (B, A, h, w, 4) xyxy.

    `size` is the input's (height, width), which may differ from the spec's.
    """
    rows, columns = t.shape[2], t.shape[3]
    cells = _cells(rows, columns, t)[:, :, 0]  # (h, w, 2)
    stride = constant(((size[1] / columns, size[0] / rows),), t.dtype, t.device)[0]
    anchors = constant(head.anchors, t.dtype, t.device)[:, None, None]  # (A, 1, 1, 2)
    center, extent = _yolo_box(head, t, anchors)
    middle = (center + cells) * stride
    return torch.cat((middle - extent / 2, middle + extent / 2), dim=-1)


def _yolo_box(head: Yolo, t: Tensor, anchors: Tensor) -> tuple[Tensor, Tensor]:
    """Center within the cell, and width and height in input pixels."""
    if head.new_coords:
        # The convolution before the head has applied the logistic function already.
        return _stretched(t[..., :2], head.scale_x_y), anchors * (2 * t[..., 2:4]) ** 2
    offset = torch.sigmoid(t[..., :2])
    return _stretched(offset, head.scale_x_y), anchors * torch.exp(t[..., 2:4])


def _stretched(offset: Tensor, scale: float) -> Tensor:
    return offset * scale - (scale - 1) / 2


def _cells(rows: int, columns: int, like: Tensor) -> Tensor:  # -> (h, w, 1, 2)
    """(column, row) of every cell."""
    y = torch.arange(rows, dtype=like.dtype, device=like.device)
    x = torch.arange(columns, dtype=like.dtype, device=like.device)
    grid = torch.meshgrid(y, x, indexing="ij")
    return torch.stack((grid[1], grid[0]), dim=-1)[:, :, None]
