"""Average precision over all points of the precision-recall curve.

N detections of an image, G objects in it, K classes, T detections of a whole data set, ranked.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from yoloprune.detection.boxes import box_iou
from yoloprune.detection.decode import Detections

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class GroundTruth:
    """The objects of one image: boxes (G, 4) xyxy in pixels, labels (G,) int64."""

    boxes_xyxy: Tensor
    labels: Tensor


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Ranking:
    """All detections of a data set, highest score first, and the number of objects they look for.

    `correct` (T,) and `labels` (T,) of the detections; `objects` (K,) in each class.
    """

    correct: Flags
    labels: NDArray[np.int64]
    objects: NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PrecisionRecall:
    """A precision-recall curve: both (T,) in [0, 1], detections ranked by falling score."""

    precision: NDArray[np.float64]
    recall: NDArray[np.float64]


def precision_recall(correct: Flags, objects: int) -> tuple[Floats, Floats]:
    """Precision and recall (T,) after each of the ranked detections; `objects` is above 0."""
    hits = np.cumsum(correct, dtype=np.float64)
    return hits / np.arange(1, len(correct) + 1), hits / objects


def average_precision(precision: Floats, recall: Floats) -> float:
    """Area under the precision envelope, over all points (PASCAL VOC from 2010 on)."""
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    return float(np.sum(np.diff(recall, prepend=0.0) * envelope))


def best_f1(precision: Floats, recall: Floats) -> tuple[float, float]:
    """Precision and recall at the point of the curve with the highest F1; (0, 0) if it is empty."""
    total = precision + recall
    f1 = np.divide(2 * precision * recall, total, out=np.zeros_like(total), where=total > 0)
    if not f1.size:
        return 0.0, 0.0
    best = int(f1.argmax())
    return float(precision[best]), float(recall[best])


def match(overlaps: Floats, iou_threshold: float) -> Flags:  # (N, G) -> (N,)
    """Which detections, in ranked order, are correct, given their IoU with each object.

    A detection stands for the object that it overlaps most. It is correct if that IoU reaches the
    threshold and no detection before it took the object.
    """
    correct = np.zeros(len(overlaps), np.bool_)
    if not overlaps.size:
        return correct
    nearest = overlaps.argmax(axis=1)
    found = np.flatnonzero(overlaps.max(axis=1) >= iou_threshold)
    _, first = np.unique(nearest[found], return_index=True)
    correct[found[first]] = True
    return correct


def rank(
    detections: Sequence[Detections],
    truths: Sequence[GroundTruth],
    classes: int,
    *,
    iou_threshold: float = 0.5,
    iou: Callable[[Tensor, Tensor], Tensor] = box_iou,
) -> Ranking:
    """Match the detections of each image with its objects, class by class, and rank them by score.

    Boxes of detections and objects are in the same pixels. Equal scores stay in their order.
    """
    scores, labels, correct = [np.zeros(0)], [np.zeros(0, np.int64)], [np.zeros(0, np.bool_)]
    objects = np.zeros(classes, np.int64)
    for found, truth in zip(detections, truths, strict=True):
        order = found.scores.argsort(descending=True, stable=True)
        overlaps = iou(found.boxes_xyxy[order], truth.boxes_xyxy.to(found.boxes_xyxy))
        same = found.labels[order, None] == truth.labels[None, :].to(found.labels)
        # Below every threshold, so that another class is never the nearest object.
        overlaps = overlaps.masked_fill(~same, -1.0)
        correct.append(match(overlaps.double().cpu().numpy(), iou_threshold))
        scores.append(found.scores[order].double().cpu().numpy())
        labels.append(found.labels[order].cpu().numpy())
        objects += np.bincount(truth.labels.cpu().numpy(), minlength=classes)
    ranks = np.argsort(-np.concatenate(scores), kind="stable")
    return Ranking(
        correct=np.concatenate(correct)[ranks],
        labels=np.concatenate(labels)[ranks],
        objects=objects,
    )


def average_precisions(ranking: Ranking) -> Floats:
    """Average precision (K,) of each class; NaN for classes without objects."""
    values = np.full(len(ranking.objects), np.nan)
    for label in np.flatnonzero(ranking.objects):
        correct = ranking.correct[ranking.labels == label]
        values[label] = average_precision(*precision_recall(correct, ranking.objects[label]))
    return values
