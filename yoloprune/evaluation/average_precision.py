"""Average precision over all points of the precision-recall curve.

Detections are matched image by image and then ranked together: boxes need not be kept.
N detections of an image, G objects in it, K classes, T detections of a whole data set, ranked;
M ways to tell which detections are correct (IoU thresholds, mostly).
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from yoloprune.detection.boxes import box_iou
from yoloprune.detection.decode import Detections
from yoloprune.detection.nms import SCORE_THRESHOLD

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class GroundTruth:
    """The objects of one image: boxes (G, 4) xyxy in pixels, labels (G,) int64."""

    boxes_xyxy: Tensor
    labels: Tensor


Matcher: TypeAlias = Callable[[Detections, GroundTruth], Flags]
"""Which detections of an image, given highest score first, are correct in each way: (N, M)."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Matched:
    """The detections of one image, highest score first, without their boxes.

    `scores` (N,) float, `labels` (N,), `correct` (N, M); `objects` (G,) are the objects' labels.
    """

    scores: NDArray[np.floating]
    labels: NDArray[np.int64]
    correct: Flags
    objects: NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Ranking:
    """All detections of a data set, highest score first, and the number of objects they look for.

    `labels` (T,) of the detections; `objects` (K,) in each class. `packed` (T, M / 8 rounded up)
    uint8 has a bit for each way to match, for there may be millions of detections. The first
    `shown` score above `SCORE_THRESHOLD`.
    """

    labels: NDArray[np.int32]
    packed: NDArray[np.uint8]
    objects: NDArray[np.int64]
    shown: int = 0

    def only_shown(self) -> "Ranking":
        """The same without the detections that score too little to be shown."""
        return replace(self, labels=self.labels[: self.shown], packed=self.packed[: self.shown])

    def correct(self, way: int = 0) -> Flags:
        """Which detections (T,) find an object, in one of the ways."""
        return (self.packed[:, way // 8] >> (way % 8) & 1).astype(np.bool_)

    def by_class(self) -> list[tuple[int, NDArray[np.intp]]]:
        """Each class that has objects, and which detections are of it, highest score first."""
        order = np.argsort(self.labels, kind="stable")
        counts = np.bincount(self.labels, minlength=len(self.objects))
        places = np.split(order, np.cumsum(counts)[:-1])
        return [(label, places[label]) for label in np.flatnonzero(self.objects).tolist()]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PrecisionRecall:
    """A precision-recall curve: both (T,) in [0, 1], detections ranked by falling score."""

    precision: NDArray[np.float64]
    recall: NDArray[np.float64]


def precision_recall(correct: Flags | Floats, objects: float) -> tuple[Floats, Floats]:
    """Precision and recall (T,) after each of the ranked detections; `objects` is above 0.

    Where it is not known which are correct, how probable that is will do, and how many objects are
    expected.
    """
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


def nearest_matches(
    found: Detections,
    truth: GroundTruth,
    *,
    iou_threshold: float = 0.5,
    iou: Callable[[Tensor, Tensor], Tensor] = box_iou,
) -> Flags:  # -> (N, 1)
    """Match as `match` does, within each class; a `Matcher` with one way."""
    overlaps = iou(found.boxes_xyxy, truth.boxes_xyxy.to(found.boxes_xyxy))
    same = found.labels[:, None] == truth.labels[None, :].to(found.labels)
    # Below every threshold, so that another class is never the nearest object.
    overlaps = overlaps.masked_fill(~same, -1.0)
    return match(overlaps.double().cpu().numpy(), iou_threshold)[:, None]


def match_image(found: Detections, truth: GroundTruth, matcher: Matcher) -> Matched:
    """Match the detections of an image, in any order, with its objects.

    Boxes of both are in the same pixels. Equal scores stay in their order.
    """
    order = found.scores.argsort(descending=True, stable=True)
    ranked = Detections(
        boxes_xyxy=found.boxes_xyxy[order], scores=found.scores[order], labels=found.labels[order]
    )
    return Matched(
        scores=ranked.scores.cpu().numpy(),
        labels=ranked.labels.cpu().numpy(),
        correct=matcher(ranked, truth),
        objects=truth.labels.cpu().numpy(),
    )


def rank(images: Iterable[Matched], classes: int) -> Ranking:
    """Rank the detections of one or more images by score; equal scores stay in their order."""
    scores, labels, packed = [], [], []
    objects = np.zeros(classes, np.int64)
    for image in images:
        scores.append(image.scores)
        labels.append(image.labels.astype(np.int32))
        packed.append(np.packbits(image.correct, axis=1, bitorder="little"))
        objects += np.bincount(image.objects, minlength=classes)
    together = np.concatenate(scores)
    ranks = np.argsort(-together, kind="stable")
    return Ranking(
        labels=np.concatenate(labels)[ranks],
        packed=np.concatenate(packed)[ranks],
        objects=objects,
        shown=int((together > SCORE_THRESHOLD).sum()),
    )


def average_precisions(ranking: Ranking) -> Floats:
    """Average precision (K,) of each class; NaN for classes without objects."""
    values = np.full(len(ranking.objects), np.nan)
    correct = ranking.correct()
    for label, places in ranking.by_class():
        curve = precision_recall(correct[places], ranking.objects[label])
        values[label] = average_precision(*curve)
    return values
