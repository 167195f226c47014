"""What a network itself finds as the truth: how much another agrees with it, without labels."""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np

from yoloprune.data.dataset import Dataset, LabeledImage
from yoloprune.data.images import read_image
from yoloprune.detection.nms import IOU_THRESHOLD
from yoloprune.errors import DatasetError
from yoloprune.evaluation.detector import Detector, detect_objects

THRESHOLD = 0.5
"""Score from which on a network means what it finds.

What is found with less comes and goes with the smallest change of the weights, at no loss in mAP
against labels."""


def own_detections(
    detector: Detector, paths: Sequence[Path], names: Sequence[str] | None = None
) -> Dataset:
    """Images labeled with what a detector finds in them; those that cannot be read are left out.

    Raises `DatasetError` where it finds nothing in any.
    """
    labeled = []
    for path in paths:
        with suppress(DatasetError):
            image = read_image(path, detector.reads.channels)
            found = detect_objects(
                detector, image, threshold=THRESHOLD, iou_threshold=IOU_THRESHOLD
            )
            height, width = image.shape[:2]
            boxes = found.boxes_xyxy.double().numpy() / np.array([width, height, width, height])
            labeled.append(LabeledImage(path=path, boxes=boxes, labels=found.labels.long().numpy()))
    given = tuple(names or map(str, range(detector.classes)))
    dataset = Dataset(images=tuple(labeled), names=given, split="unlabeled")
    if not dataset.object_count:
        raise DatasetError(
            f"the network finds nothing (scores above {THRESHOLD:g}) in {len(paths)} images: "
            "other images, or labels, are needed to judge by"
        )
    return dataset
