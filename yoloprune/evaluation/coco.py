"""COCO's average precision, computed by pycocotools.

T IoU thresholds (0.50 to 0.95 in steps of 0.05), K classes.
"""

import io
from collections.abc import Sequence
from contextlib import redirect_stdout
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from yoloprune.detection.decode import Detections
from yoloprune.evaluation.average_precision import GroundTruth


def coco_average_precisions(
    detections: Sequence[Detections], truths: Sequence[GroundTruth], classes: int
) -> NDArray[np.float64]:  # -> (T, K)
    """Average precision (101 points) for each IoU threshold and class; NaN without objects.

    The standard settings: all areas, at most 100 detections an image and class. Boxes are in pixels
    of the original images. The mean over all numbers is AP50:95, that over the first row AP50.
    """
    # pycocotools takes half a second to import.
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    def coco(annotations: list[dict[str, Any]]) -> Any:
        result = COCO()
        result.dataset = {
            "images": [{"id": index} for index in range(len(truths))],
            "categories": [{"id": label} for label in range(classes)],
            "annotations": annotations,
        }
        result.createIndex()
        return result

    objects: list[dict[str, Any]] = []
    found: list[dict[str, Any]] = []
    for image, (detected, truth) in enumerate(zip(detections, truths, strict=True)):
        _annotate(objects, image, truth.boxes_xyxy, truth.labels)
        _annotate(found, image, detected.boxes_xyxy, detected.labels, detected.scores)
    with redirect_stdout(io.StringIO()):
        evaluation = COCOeval(coco(objects), coco(found), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
    # (T, recall points, K, areas, detection limits): all areas, limit 100.
    precision = evaluation.eval["precision"][:, :, :, 0, -1]
    averages = precision.mean(axis=1)
    return np.where(averages < 0, np.nan, averages)


def _annotate(
    annotations: list[dict[str, Any]],
    image: int,
    boxes: Tensor,
    labels: Tensor,
    scores: Tensor | None = None,
) -> None:
    """Append boxes in COCO's form; ids start from 1, for pycocotools takes 0 as "no match"."""
    values = [None] * len(labels) if scores is None else scores.tolist()
    for box, label, score in zip(boxes.tolist(), labels.tolist(), values, strict=True):
        left, top, right, bottom = box
        width, height = right - left, bottom - top
        annotations.append(
            {
                "id": len(annotations) + 1,
                "image_id": image,
                "category_id": label,
                "bbox": [left, top, width, height],
                "area": width * height,
                "iscrowd": 0,
                "score": score,
            }
        )
