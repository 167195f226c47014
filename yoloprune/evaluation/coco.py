"""COCO's average precision: pycocotools' numbers, in bounded memory and time.

pycocotools keeps a dictionary for each detection and a matrix for each image and class; for 20,000
images of 80 classes that is 3 GB. Here the IoU is pycocotools' own, matching and accumulation do
what its `COCOeval` does for all areas and 100 detections, and only flags and scores are kept. The
numbers are the same, to the last bit.

N detections of an image, G objects in it, T IoU thresholds, K classes.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from yoloprune.detection.decode import Detections
from yoloprune.evaluation.average_precision import Flags, Floats, GroundTruth, Ranking

IOU_THRESHOLDS = np.linspace(0.5, 0.95, 10)
"""Their mean is AP50:95."""

RECALL_THRESHOLDS = np.linspace(0.0, 1.0, 101)

DETECTION_LIMIT = 100
"""How many detections count of an image and class: those with the highest scores."""


def coco_matches(found: Detections, truth: GroundTruth) -> Flags:  # -> (N, T)
    """Which detections are correct at each IoU threshold; a `Matcher`.

    By falling score, each takes the object of its class, of those left, that it overlaps most, if
    the IoU reaches the threshold. No class may have more than `DETECTION_LIMIT` detections, and no
    box a negative width or height.
    """
    # pycocotools takes half a second to import.
    from pycocotools import mask

    correct = np.zeros((len(found.labels), len(IOU_THRESHOLDS)), np.bool_)
    objects = len(truth.labels)
    if not (len(correct) and objects):
        return correct
    overlaps = mask.iou(_corner_and_size(found), _corner_and_size(truth), [0] * objects)  # (N, G)
    overlaps[found.labels.numpy()[:, None] != truth.labels.numpy()] = -1.0
    taken = np.zeros((len(IOU_THRESHOLDS), objects), np.bool_)
    for place in np.flatnonzero(overlaps.max(axis=1) >= IOU_THRESHOLDS[0]):
        free = np.where(taken, -1.0, overlaps[place])  # (T, G)
        # The last of equals, as in pycocotools.
        nearest = objects - 1 - free[:, ::-1].argmax(axis=1)
        hits = np.flatnonzero(free.max(axis=1) >= IOU_THRESHOLDS)
        taken[hits, nearest[hits]] = True
        correct[place, hits] = True
    return correct


def coco_average_precisions(ranking: Ranking, ways: Sequence[int]) -> NDArray[np.float64]:
    """Average precision (T, K) over 101 recall points; NaN for classes without objects.

    `ways` are those of the ranking's matches that `coco_matches` gave, a threshold each. The mean
    over all numbers is AP50:95, that over the first row AP50.
    """
    classes = ranking.by_class()
    shape = (len(ways), len(RECALL_THRESHOLDS), len(ranking.objects))
    precision = np.full(shape, np.nan)
    for row, way in enumerate(ways):
        correct = ranking.correct(way)
        for label, places in classes:
            precision[row, :, label] = _precision(correct[places], ranking.objects[label])
    averages: Floats = precision.mean(axis=1)
    return averages


def _precision(correct: Flags, objects: int) -> Floats:
    """Highest precision from each recall threshold on; 0 where that recall is not reached."""
    hits = np.cumsum(correct, dtype=np.float64)
    # pycocotools guards against a division by 0 in this way.
    precision = hits / (np.arange(1, len(hits) + 1) + np.spacing(1))
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    places = np.searchsorted(hits / objects, RECALL_THRESHOLDS)
    reached = places < len(hits)
    result = np.zeros(len(RECALL_THRESHOLDS))
    result[reached] = envelope[places[reached]]
    return result


def _corner_and_size(boxes: Detections | GroundTruth) -> Floats:  # -> (N, 4)
    """Left, top, width, height."""
    corners: Tensor = boxes.boxes_xyxy.double()
    values: Floats = corners.cpu().numpy()
    return np.hstack((values[:, :2], values[:, 2:] - values[:, :2]))
