"""Non-maximum suppression: exact greedy results by tensor operations.

Greedy suppression keeps box j unless an earlier kept box i of its class overlaps it. That rule has
one fixed point, which iterating it from "keep all" reaches (Cluster-NMS, Z. Zheng et al.,
"Enhancing Geometric Factors in Model Learning and Inference for Object Detection and Instance
Segmentation", 2020). Boxes are taken in blocks, so that memory does not grow with their square.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from yoloprune.detection.boxes import box_diou, box_iou, pixel_box_iou
from yoloprune.detection.decode import Detections, Predictions
from yoloprune.frontends.darknet.options import Options
from yoloprune.frontends.darknet.spec import GaussianYolo, NetworkSpec, Yolo

PairwiseIou = Callable[[Tensor, Tensor], Tensor]

SCORE_THRESHOLD, IOU_THRESHOLD = 0.25, 0.45
"""Which boxes are shown to people, unless told otherwise: darknet's own defaults."""

_BLOCK = 256

_GREEDY_POWER = 0.6
"""What darknet's `box_diou` has built in; `beta_nms` counts with diounms alone."""


def nms(  # (N, 4), (N,), (N,) -> (K,)
    boxes: Tensor,
    scores: Tensor,
    labels: Tensor,
    iou_threshold: float,
    iou: PairwiseIou = box_iou,
    limit: int | None = None,
) -> Tensor:
    """Indices of the boxes that greedy per-class suppression keeps, highest score first.

    A box goes if its IoU with a kept box of its class is above the threshold; of boxes with equal
    scores the earlier comes first. `limit` keeps the first boxes of each class, and saves the time
    for the others.
    """
    order = scores.argsort(descending=True, stable=True)
    order = order[labels[order].argsort(stable=True)]
    boxes, labels = boxes[order], labels[order]
    keep = torch.zeros_like(labels, dtype=torch.bool)
    start = 0
    while start < len(order):
        block = slice(start, start + _BLOCK)
        # Boxes are sorted by class: only the class that began before this block reaches back.
        begin = int(torch.searchsorted(labels, labels[start]))
        if limit is not None and int(keep[begin:start].sum()) >= limit:
            start = int(torch.searchsorted(labels, labels[start], right=True))
            continue
        earlier = boxes[begin:start][keep[begin:start]]
        reached = (iou(earlier, boxes[block]) > iou_threshold).any(dim=0)
        alive = ~(reached & (labels[block] == labels[start]))
        same = labels[block, None] == labels[None, block]
        overlaps = ((iou(boxes[block], boxes[block]) > iou_threshold) & same).triu(diagonal=1)
        keep[block] = _kept(alive, overlaps)
        start += _BLOCK
    kept, labels = order[keep], labels[keep]
    if limit is not None:
        place_in_class = torch.arange(len(kept), device=kept.device)
        place_in_class -= torch.searchsorted(labels, labels)
        kept = kept[place_in_class < limit]
    kept = kept.sort().values
    return kept[scores[kept].argsort(descending=True, stable=True)]


def darknet_overlap(spec: NetworkSpec, extent: tuple[float, float]) -> PairwiseIou:
    """What darknet's `detector test` and `map` hold against the threshold for this network.

    That is the IoU, or with `nms_kind` `greedynms` or `diounms` of the last head a DIoU, which is
    not the same in pixels as in darknet's coordinates, shares of the image: `extent` is the image's
    (width, height) in the boxes' unit. Whatever else `nms_kind` says (`cornersnms` of a
    [Gaussian_yolo], too) comes to the IoU. Source: `parse_yolo` of `src/parser.c`, `diounms_sort`
    of `src/box.c` (AlexeyAB's fork).
    """
    head = spec.heads[-1] if spec.heads else None
    if not isinstance(head, Yolo | GaussianYolo):
        return box_iou
    options = Options(head.section, head.index, "cfg")
    powers = {"greedynms": _GREEDY_POWER, "diounms": options.real("beta_nms", _GREEDY_POWER)}
    power = powers.get(options.word("nms_kind", "default"))
    if power is None:
        return box_iou

    def diou(a: Tensor, b: Tensor) -> Tensor:
        unit = a.new_tensor(extent * 2)
        return box_diou(a / unit, b / unit, power)

    return diou


def select_detections(
    predictions: Predictions,
    threshold: float,
    iou_threshold: float,
    *,
    iou: PairwiseIou = box_iou,
    limit: int | None = None,
) -> list[Detections]:
    """Detections of each image, highest score first, in input pixels.

    Every class of a box whose objectness x class is above `threshold` is a detection of its own;
    then suppression within each class, of which the best `limit` stay, all of them if None.
    """
    iou_threshold = _threshold(predictions, iou_threshold)
    selected = []
    for boxes, objectness, classes in _images(predictions):
        scores = objectness[:, None] * classes
        box, label = (scores > threshold).nonzero(as_tuple=True)
        kept = nms(boxes[box], scores[box, label], label, iou_threshold, iou, limit)
        selected.append(
            Detections(
                boxes_xyxy=boxes[box[kept]],
                scores=scores[box[kept], label[kept]],
                labels=label[kept],
            )
        )
    return selected


def merge_detections(
    predictions: Predictions, threshold: float = 0.01, iou_threshold: float = 0.5
) -> list[Detections]:
    """Detections of each image by the case study's merging suppression, in input pixels.

    Boxes with an objectness of at least `threshold` take their likeliest class and are ordered by
    objectness x class. A kept box becomes the mean, weighted by objectness, of itself and of the
    boxes that it suppresses; IoU counts corner pixels. The scores returned are objectness.
    """
    iou_threshold = _threshold(predictions, iou_threshold)
    merged = []
    for boxes, objectness, classes in _images(predictions):
        candidates = objectness >= threshold
        boxes, objectness = boxes[candidates], objectness[candidates]
        likelihood, labels = classes[candidates].max(dim=1)
        kept = nms(boxes, objectness * likelihood, labels, iou_threshold, pixel_box_iou)
        owners = _owners(boxes, labels, kept, iou_threshold)  # (N,)
        total = torch.zeros_like(boxes[kept]).index_add(0, owners, objectness[:, None] * boxes)
        weight = torch.zeros_like(objectness[kept]).index_add(0, owners, objectness)
        merged.append(
            Detections(
                boxes_xyxy=total / weight[:, None], scores=objectness[kept], labels=labels[kept]
            )
        )
    return merged


def _threshold(predictions: Predictions, iou_threshold: float) -> float:
    """No box overlaps another by more than everything."""
    return math.inf if predictions.suppressed else iou_threshold


def _images(predictions: Predictions) -> list[tuple[Tensor, Tensor, Tensor]]:
    """Boxes, objectness and classes of each image, without boxes that are not finite."""
    images = []
    for boxes, objectness, classes in zip(
        predictions.boxes, predictions.objectness, predictions.classes, strict=True
    ):
        finite = boxes.isfinite().all(dim=1)
        images.append((boxes[finite], objectness[finite], classes[finite]))
    return images


def _kept(alive: Tensor, overlaps: Tensor) -> Tensor:  # (n,), (n, n) upper triangle -> (n,)
    links = overlaps.float()
    kept = alive
    while True:
        following = alive & (kept.float() @ links == 0)
        if torch.equal(following, kept):
            return kept
        kept = following


def _owners(boxes: Tensor, labels: Tensor, kept: Tensor, iou_threshold: float) -> Tensor:
    """For each box the position in `kept` of the first kept box that suppresses it, or itself."""
    owners = torch.full_like(labels, -1)
    owners[kept] = torch.arange(len(kept), device=kept.device)
    suppressed = (owners < 0).nonzero()[:, 0]
    for start in range(0, len(suppressed), _BLOCK):
        block = suppressed[start : start + _BLOCK]
        overlaps = pixel_box_iou(boxes[kept], boxes[block]) > iou_threshold  # (K, n)
        overlaps &= labels[kept, None] == labels[None, block]
        owners[block] = overlaps.to(torch.uint8).argmax(dim=0)
    return owners
