"""What an error in the raw map of a Darknet head does to the probabilities that it means."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from yoloprune.frontends.darknet.heads import raw_map
from yoloprune.frontends.darknet.spec import NetworkSpec, Yolo

BOXES = 2.0
"""What a squared error of a box counts beside the divergence of probabilities."""


def curvatures(spec: NetworkSpec) -> dict[str, Callable[[Tensor], Tensor]]:
    """For each [yolo] head, by the name of its map: what a squared error in each value counts.

    To second order, half of that is the divergence of the probabilities of objects and classes; a
    box counts as far as there is an object. An object counts as far as it is of any class: of what
    a network was not asked to tell, it may believe what it likes.
    """
    return {raw_map(head): _of(head) for head in spec.heads if isinstance(head, Yolo)}


def divergences(spec: NetworkSpec) -> dict[str, Callable[[Tensor, Tensor], Tensor]]:
    """For each [yolo] head, by the name of its map: how far a map is from another by its meaning.

    Of a student's and a teacher's map (B, A (5 + C), h, w): the divergence of the probabilities of
    objects, and where the teacher sees one also that of classes, and squared errors of the box.
    """
    return {raw_map(head): _from(head) for head in spec.heads if isinstance(head, Yolo)}


def _from(head: Yolo) -> Callable[[Tensor, Tensor], Tensor]:
    def divergence(student: Tensor, teacher: Tensor) -> Tensor:
        ours, theirs = (
            values.reshape(len(values), len(head.anchors), -1, *values.shape[2:])
            for values in (student, teacher)
        )
        if head.new_coords:
            # The network has applied the logistic function itself.
            boxes = (ours[:, :, :4] - theirs[:, :, :4]).square()
            ours, theirs = (
                values[:, :, 4:].clamp(1e-4, 1 - 1e-4).logit() for values in (ours, theirs)
            )
        else:
            centers = ours[:, :, :2].sigmoid() - theirs[:, :, :2].sigmoid()
            sizes = ours[:, :, 2:4] - theirs[:, :, 2:4]
            boxes = torch.cat((centers, sizes), dim=2).square()
            ours, theirs = ours[:, :, 4:], theirs[:, :, 4:]
        wanted = theirs.sigmoid()
        # Less the teacher's own entropy, so that it is 0 for the same map.
        apart = _cross_entropy(ours, wanted) - _cross_entropy(theirs, wanted)
        content = BOXES * boxes.sum(dim=2) + apart[:, :, 1:].sum(dim=2)
        return (apart[:, :, 0] + wanted[:, :, 0] * content).sum()

    return divergence


def _cross_entropy(logits: Tensor, wanted: Tensor) -> Tensor:
    return F.binary_cross_entropy_with_logits(logits, wanted, reduction="none")


def _of(head: Yolo) -> Callable[[Tensor], Tensor]:
    def weights(values: Tensor) -> Tensor:  # (B, A (5 + C), h, w)
        entries = values.reshape(len(values), len(head.anchors), -1, *values.shape[2:])
        probabilities = entries if head.new_coords else entries.sigmoid()
        curvature = (probabilities * (1 - probabilities)).clamp(min=1e-6)
        if head.new_coords:
            # Not of the logit but of the probability itself.
            curvature = 1 / curvature
        objectness = probabilities[:, :, 4:5]
        known = 1 - (1 - probabilities[:, :, 5:]).prod(dim=2, keepdim=True)
        weight = objectness * curvature
        weight[:, :, 4:5] = known * curvature[:, :, 4:5]
        # The box of a cell matters as far as there is an object.
        weight[:, :, :4] = known * objectness
        return weight.reshape(values.shape)

    return weights
