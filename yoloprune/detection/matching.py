"""Which objects two networks have both found."""

import torch
from torch import Tensor

from yoloprune.detection.boxes import box_iou
from yoloprune.detection.decode import Detections

SAME_IOU = 0.5
"""IoU from which on two boxes of a class are one object."""


def found_by_both(first: Detections, second: Detections) -> tuple[Tensor, Tensor]:  # (N,), (M,)
    """Whether each detection of one network has a counterpart among the other's, as bool.

    Counterparts are of one class and overlap by `SAME_IOU`; each is one detection's only, and the
    boxes that agree best are taken first. As many are found in `first` as in `second`.
    """
    overlaps = box_iou(first.boxes_xyxy, second.boxes_xyxy)  # (N, M)
    overlaps = overlaps * (first.labels[:, None] == second.labels[None, :])
    pairs = (overlaps >= SAME_IOU).nonzero()
    order = overlaps[pairs[:, 0], pairs[:, 1]].argsort(descending=True, stable=True)
    in_first = torch.zeros(len(first.labels), dtype=torch.bool)
    in_second = torch.zeros(len(second.labels), dtype=torch.bool)
    for one, other in pairs[order].tolist():
        if not in_first[one] and not in_second[other]:
            in_first[one] = in_second[other] = True
    return in_first, in_second
