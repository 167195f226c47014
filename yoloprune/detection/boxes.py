"""Arithmetic on boxes.

Unless a name says otherwise they are xyxy: left, top, right, bottom. N, M: numbers of boxes.
"""

import torch
from torch import Tensor

from yoloprune.detection.placement import Placement


def box_iou(a: Tensor, b: Tensor) -> Tensor:  # (..., N, 4), (..., M, 4) -> (..., N, M)
    """Intersection over union of every pair of xyxy boxes; 0 where both are empty."""
    return _pairwise_iou(a, b, 0.0)


def pixel_box_iou(a: Tensor, b: Tensor) -> Tensor:  # (N, 4), (M, 4) -> (N, M)
    """Intersection over union where corners are pixels that belong to the box (width x2 - x1 + 1).

    The convention of PASCAL VOC 2007, and of the case study.
    """
    return _pairwise_iou(a, b, 1.0)


def box_diou(a: Tensor, b: Tensor, power: float) -> Tensor:  # (N, 4), (M, 4) -> (N, M)
    """IoU less (d / c)^(2 power), as darknet's `src/box.c` has it (there: of the squares).

    d is the distance of the two centers, c the diagonal of the smallest box around both. Z. Zheng
    et al., "Distance-IoU Loss", 2020, where the power is 1.
    """
    outer = torch.maximum(a[:, None, 2:], b[:, 2:]) - torch.minimum(a[:, None, :2], b[:, :2])
    apart = (a[:, None, :2] + a[:, None, 2:] - b[:, :2] - b[:, 2:]) / 2
    diagonal = outer.square().sum(dim=-1).clamp_(min=torch.finfo(a.dtype).tiny)
    return box_iou(a, b) - (apart.square().sum(dim=-1) / diagonal) ** power


def box_cxcywh_to_xyxy(boxes: Tensor) -> Tensor:  # (..., 4) -> (..., 4)
    """Corners of boxes that are given as their center, width and height."""
    half = boxes[..., 2:] / 2
    return torch.cat((boxes[..., :2] - half, boxes[..., :2] + half), dim=-1)


def clip_boxes(boxes: Tensor, width: float, height: float) -> Tensor:  # (..., 4) -> (..., 4)
    """Cut xyxy boxes at the borders of an image of this size in pixels."""
    return boxes.clamp(min=0).minimum(boxes.new_tensor((width, height, width, height)))


def boxes_to_network(boxes: Tensor, placement: Placement) -> Tensor:  # (..., 4) -> (..., 4)
    """Map xyxy boxes from image pixels to network input pixels."""
    return boxes * boxes.new_tensor(placement.scale * 2) + boxes.new_tensor(placement.offset * 2)


def boxes_to_image(boxes: Tensor, placement: Placement) -> Tensor:  # (..., 4) -> (..., 4)
    """Map xyxy boxes from network input pixels to image pixels."""
    return (boxes - boxes.new_tensor(placement.offset * 2)) / boxes.new_tensor(placement.scale * 2)


def _pairwise_iou(a: Tensor, b: Tensor, pixel: float) -> Tensor:
    left, top, right, bottom = a[..., None].unbind(dim=-2)  # (..., N, 1) each
    first_x, first_y, last_x, last_y = b[..., None, :, :].unbind(dim=-1)  # (..., 1, M) each
    width = torch.minimum(right, last_x) - torch.maximum(left, first_x) + pixel  # (..., N, M)
    height = torch.minimum(bottom, last_y) - torch.maximum(top, first_y) + pixel
    overlap = width.clamp_(min=0).mul_(height.clamp_(min=0))
    area_a = (a[..., 2:] - a[..., :2] + pixel).prod(dim=-1)
    area_b = (b[..., 2:] - b[..., :2] + pixel).prod(dim=-1)
    union = (area_a[..., :, None] + area_b[..., None, :]).sub_(overlap)
    return overlap.div_(union.clamp_(min=torch.finfo(a.dtype).tiny))
