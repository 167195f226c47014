"""The loss of YOLOv3-style heads, in darknet's own parametrization.

Legend: B images, A anchors, C classes, h x w cells, P positives, M objects.

Box: 1 - CIoU of each positive's decoded box (Z. Zheng et al., "Distance-IoU Loss", 2020).
Objectness and classes: binary cross-entropy; a prediction that is no positive but overlaps some
object with IoU above the head's `ignore_thresh` counts neither way (J. Redmon and A. Farhadi,
"YOLOv3", 2018). The balance of the heads is that every prediction counts alike: a head weighs by
its cells, 16 : 4 : 1 for strides of 8, 16 and 32, which is close to the 10 : 2.5 : 1 that others
give to their means. All three are sums over the batch divided by the number of positives of the
whole batch (or of its images, if those are more), so that micro-batches and processes add up
to exactly the loss of one large batch.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from yoloprune.detection.boxes import box_iou
from yoloprune.detection.decode import decode_yolo_boxes
from yoloprune.errors import CfgError
from yoloprune.frontends.darknet.options import Options
from yoloprune.frontends.darknet.spec import NetworkSpec, Yolo
from yoloprune.training.targets import Targets

IGNORE_IOU = 0.5
"""Where the cfg's head gives no `ignore_thresh`; darknet's own."""

BOX_WEIGHT = 3.0
CLASS_WEIGHT = 1.0

_OBJECTS_AT_ONCE = 16
"""Of an image, that all its predictions are compared with: what bounds the memory."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Loss:
    """The three terms, weighted: scalars."""

    box: Tensor
    objectness: Tensor
    classes: Tensor

    @property
    def total(self) -> Tensor:
        """What is minimized."""
        return self.box + self.objectness + self.classes


def trainable_heads(spec: NetworkSpec) -> tuple[Yolo, ...]:
    """The heads of a network that can be trained; raises `CfgError` for any other kind of head."""
    for head in spec.heads:
        if not isinstance(head, Yolo):
            raise CfgError(f"{head.title}: only [yolo] heads can be trained")
    heads = tuple(head for head in spec.heads if isinstance(head, Yolo))
    if not heads:
        raise CfgError("the network has no [yolo] head to train")
    if not any(width * height > 0 for head in heads for width, height in head.anchors):
        raise CfgError(f"{heads[0].title}: all anchors are 0 wide or high: fit them to the data")
    return heads


def detection_loss(
    heads: Sequence[Yolo],
    maps: Sequence[Tensor],
    wanted: Targets,
    size: tuple[int, int],
    normalizer: float | Tensor,
) -> Loss:
    """Loss of raw head maps (B, A (5 + C), h, w) against targets, for (height, width) inputs.

    The terms are divided by `normalizer`. Maps and targets lie on one device, and a GPU is not
    waited for.
    """
    zero = maps[0].new_zeros(())
    box, objectness, classes = zero, zero, zero
    for number, (head, raw) in enumerate(zip(heads, maps, strict=True)):
        split = raw.float().reshape(len(raw), len(head.anchors), -1, *raw.shape[2:])
        t = split.permute(0, 1, 3, 4, 2)  # (B, A, h, w, 5 + C)
        boxes = decode_yolo_boxes(head, t, size).flatten(0, 3)  # (N, 4) xyxy
        place, counted = wanted.place[number], wanted.counted[number]
        similar = ciou(boxes.index_select(0, place), wanted.truth[number])
        box = box + ((1 - similar) * counted).sum()
        positive = torch.zeros_like(boxes[:, 0]).scatter_add_(0, place, counted)
        weight = _objectness_weight(boxes.detach(), wanted.labeled, positive, ignore_iou(head))
        scores = t[..., 4:].flatten(0, 3)  # (N, 1 + C)
        objectness = objectness + _cross_entropy(head, scores[:, 0], positive, weight)
        label = F.one_hot(wanted.label[number], head.classes).to(scores.dtype)
        classes = classes + _cross_entropy(
            head, scores.index_select(0, place)[:, 1:], label, counted[:, None].expand_as(label)
        )
    return Loss(
        box=BOX_WEIGHT * box / normalizer,
        objectness=objectness / normalizer,
        classes=CLASS_WEIGHT * classes / normalizer,
    )


def ciou(boxes: Tensor, truth: Tensor) -> Tensor:  # (P, 4), (P, 4) xyxy -> (P,)
    """Complete IoU: IoU less penalties for the distance of centers and the difference of shapes."""
    # Not by `prod`: its gradient asks a GPU whether there are zeros, and waits for the answer.
    width, height = (boxes[:, 2:] - boxes[:, :2]).unbind(dim=1)
    true_width, true_height = (truth[:, 2:] - truth[:, :2]).unbind(dim=1)
    corner = torch.maximum(boxes[:, :2], truth[:, :2])
    across, down = (torch.minimum(boxes[:, 2:], truth[:, 2:]) - corner).clamp(min=0).unbind(dim=1)
    overlap = across * down
    iou = overlap / (width * height + true_width * true_height - overlap + 1e-7)
    outer = torch.maximum(boxes[:, 2:], truth[:, 2:]) - torch.minimum(boxes[:, :2], truth[:, :2])
    distance = ((boxes[:, :2] + boxes[:, 2:] - truth[:, :2] - truth[:, 2:]) / 2).square().sum(dim=1)
    angle = torch.atan2(true_width, true_height) - torch.atan2(width, height)
    shape = 4 / math.pi**2 * angle.square()
    with torch.no_grad():
        weight = shape / (1 - iou + shape + 1e-7)
    return iou - distance / (outer.square().sum(dim=1) + 1e-7) - weight * shape


def ignore_iou(head: Yolo) -> float:
    """The head's `ignore_thresh`; raises `CfgError` if that is no number in [0, 1]."""
    options = Options(head.section, head.index, "cfg")
    value = options.real("ignore_thresh", IGNORE_IOU)
    if not 0 <= value <= 1:
        raise options.error(f"ignore_thresh={value:g} must be in [0, 1]", "ignore_thresh")
    return value


def _objectness_weight(boxes: Tensor, labeled: Tensor, positive: Tensor, ignored: float) -> Tensor:
    """1, but 0 for predictions (N,) that overlap an object and are no positives.

    `boxes` (N, 4) are those of all images, `labeled` the objects of each, (B, M, 4).
    """
    own = boxes.reshape(len(labeled), -1, 4)
    overlap = torch.zeros_like(own[..., 0])
    for some in torch.split(labeled, _OBJECTS_AT_ONCE, dim=1):
        overlap = torch.maximum(overlap, box_iou(own, some).amax(dim=2))
    is_free = (positive > 0) | (overlap.flatten() <= ignored)
    return is_free.to(positive.dtype)


def _cross_entropy(head: Yolo, values: Tensor, wanted: Tensor, weight: Tensor) -> Tensor:
    """Weighted sum; with new_coords the network has applied the logistic function itself."""
    if head.new_coords:
        safe = values.clamp(1e-6, 1 - 1e-6)
        return F.binary_cross_entropy(safe, wanted, weight, reduction="sum")
    return F.binary_cross_entropy_with_logits(values, wanted, weight, reduction="sum")
