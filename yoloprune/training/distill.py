"""Distillation: the dense teacher's heads as targets beside the labels.

At every anchor of every cell, with o = objectness, c = classes, b = box parameters, T the teacher:

    sum (o - o_T)^2 + o_T * (sum (c - c_T)^2 + sum (b - b_T)^2)

divided by the number of positives of the batch. The teacher's boxes and classes count as much as it
believes that there is an object (R. Mehta and C. Ozturk, "Object detection at 200 Frames Per
Second", 2018). Probabilities are compared after the logistic function; b is (x, y) after it and
the raw (w, h).
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from yoloprune.frontends.darknet.spec import Yolo


def distillation_loss(
    heads: Sequence[Yolo],
    maps: Sequence[Tensor],
    teacher_maps: Sequence[Tensor],
    normalizer: float | Tensor,
) -> Tensor:
    """Scalar; maps are (B, A (5 + C), h, w) a head, the student's and the teacher's."""
    total = maps[0].new_zeros((), dtype=torch.float32)
    for head, student, teacher in zip(heads, maps, teacher_maps, strict=True):
        ours, theirs = (_probabilities(head, raw.float()) for raw in (student, teacher))
        square = (ours - theirs).square()
        belief = theirs[:, :, 4]
        content = square[:, :, :4].sum(dim=2) + square[:, :, 5:].sum(dim=2)
        total = total + (square[:, :, 4] + belief * content).sum()
    return total / normalizer


def _probabilities(head: Yolo, raw: Tensor) -> Tensor:
    """(B, A (5 + C), h, w) -> (B, A, 5 + C, h, w), all but w and h in [0, 1]."""
    t = raw.reshape(len(raw), len(head.anchors), -1, *raw.shape[2:])
    if head.new_coords:
        return t
    return torch.cat((t[:, :, :2].sigmoid(), t[:, :, 2:4], t[:, :, 4:].sigmoid()), dim=2)
