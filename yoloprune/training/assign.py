"""Which anchor of which cell answers for which object.

Legend: M objects of a batch, A anchors of a head, P positives of a head.

An object goes to the anchor, over all heads, whose shape fits its own best (IoU of the two boxes
laid on the same center), and besides to every anchor whose shape IoU is above a threshold; of the
head concerned, it is the cell that holds the object's center. (J. Redmon and A. Farhadi, "YOLOv3",
2018, with the further anchors of A. Bochkovskiy et al., "YOLOv4", 2020.) Where two objects claim
the same anchor of the same cell, the better fitting one gets it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from yoloprune.frontends.darknet.spec import Head

SHAPE_IOU = 0.4
"""Anchors of at least this shape IoU answer for an object too, beside the best one."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Objects:
    """The labeled objects of a batch of images: M of them.

    `image` (M,) int64, index in the batch; `label` (M,) int64; `boxes` (M, 4) float32 xyxy in
    input pixels.
    """

    image: Tensor
    label: Tensor
    boxes: Tensor

    def of_images(self, count: int, least: int = 1) -> Tensor:
        """The boxes of each of `count` images, (count, M, 4), of M = most of them, or `least`.

        Where an image has fewer, empty boxes follow.
        """
        counts = torch.bincount(self.image, minlength=count)
        order = self.image.argsort(stable=True)
        first = counts.cumsum(0) - counts
        rank = torch.arange(len(order)) - first[self.image[order]]
        found = self.boxes.new_zeros((count, max(least, int(counts.max())), 4))
        found[self.image[order], rank] = self.boxes[order]
        return found


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Positives:
    """The predictions of one head that answer for an object: P of them.

    `image`, `anchor`, `row`, `column` (P,) int64 say where; `target` (P,) int64 is the object.
    """

    image: Tensor
    anchor: Tensor
    row: Tensor
    column: Tensor
    target: Tensor


def shape_iou(sizes: Tensor, anchors: Tensor) -> Tensor:  # (M, 2), (A, 2) -> (M, A)
    """IoU of boxes laid on the same center."""
    overlap = torch.minimum(sizes[:, None], anchors[None]).prod(dim=-1)
    union = sizes.prod(dim=1)[:, None] + anchors.prod(dim=1)[None] - overlap
    # An anchor may be 0 wide, and then fits nothing.
    return overlap / union.clamp(min=torch.finfo(union.dtype).tiny)


def assign(
    heads: Sequence[Head],
    objects: Objects,
    grids: Sequence[tuple[int, int]],
    input_size: tuple[int, int],
) -> list[Positives]:
    """Positives of each head, whose (rows, columns) are `grids`, for (height, width) inputs."""
    anchors = torch.cat([objects.boxes.new_tensor(head.anchors) for head in heads])
    low, high = objects.boxes[:, :2], objects.boxes[:, 2:]
    fit = shape_iou(high - low, anchors)  # (M, all anchors)
    chosen = fit > SHAPE_IOU
    if len(fit):
        chosen[torch.arange(len(fit)), fit.argmax(dim=1)] = True
    positives = []
    first = 0
    for head, (rows, columns) in zip(heads, grids, strict=True):
        own = slice(first, first + len(head.anchors))
        first += len(head.anchors)
        target, anchor = chosen[:, own].nonzero(as_tuple=True)
        # Best fitting last: of two objects in one place, the last one stands.
        order = fit[:, own][target, anchor].argsort(stable=True)
        target, anchor = target[order], anchor[order]
        center = (low[target] + high[target]) / 2
        column = (center[:, 0] * columns / input_size[1]).long().clamp(0, columns - 1)
        row = (center[:, 1] * rows / input_size[0]).long().clamp(0, rows - 1)
        image = objects.image[target]
        place = ((image * len(head.anchors) + anchor) * rows + row) * columns + column
        keep = _last_of_each(place)
        positives.append(
            Positives(
                image=image[keep],
                anchor=anchor[keep],
                row=row[keep],
                column=column[keep],
                target=target[keep],
            )
        )
    return positives


def _last_of_each(values: Tensor) -> Tensor:
    """Positions of the last occurrence of each value, ascending."""
    if not len(values):
        return values
    unique, inverse = torch.unique(values, return_inverse=True)
    last = torch.full((len(unique),), -1, dtype=torch.int64, device=values.device)
    positions = torch.arange(len(values), device=values.device)
    last.scatter_reduce_(0, inverse, positions, reduce="amax")
    return last.sort().values
