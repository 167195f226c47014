"""The protocols by which detections are made and judged, a row each.

`case-study`: the image padded with black to the network's aspect ratio, a square usually, and
resized by nearest neighbor; boxes with an objectness of at least 0.01; merging suppression at IoU
0.5; all-points AP at IoU 0.5 in the pixels of the padded network input, ranked by objectness, IoU
counting corner pixels. It has no AP at other IoU thresholds.

`coco`: the image resized as the network's own format says; every class above a small score counts;
suppression within each class, of which an image's best 100 detections count; pycocotools' AP50 and
AP50:95 in the pixels of the original images.

They give different numbers for the same network: compare only within one of them.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from yoloprune.data.preprocess import NetworkInput
from yoloprune.detection.boxes import boxes_to_network, pixel_box_iou
from yoloprune.detection.decode import Detections, Predictions
from yoloprune.detection.nms import merge_detections, select_detections
from yoloprune.detection.placement import Placement
from yoloprune.errors import UsageError
from yoloprune.evaluation.average_precision import (
    Flags,
    GroundTruth,
    Matched,
    Ranking,
    average_precisions,
    match_image,
    nearest_matches,
)
from yoloprune.evaluation.coco import (
    DETECTION_LIMIT,
    IOU_THRESHOLDS,
    coco_average_precisions,
    coco_matches,
)
from yoloprune.evaluation.detector import in_image

SCORE_THRESHOLD = 0.005
"""Scores that count in the `coco` protocol: low, for AP takes in the whole curve."""

NMS_THRESHOLD = 0.45
"""IoU above which the `coco` protocol suppresses; darknet's default."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sample:
    """A network input; where in it the image lies; the image's (height, width) and objects."""

    fitted: NetworkInput
    placement: Placement
    size: tuple[int, ...]
    truth: GroundTruth


Averages: TypeAlias = tuple[NDArray[np.float64], NDArray[np.float64] | None]
"""AP of each class (K,) at IoU 0.5, and over IoU 0.5 to 0.95 where a protocol has it."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Protocol:
    """One way to measure how well a detector finds objects.

    Attributes:
        name: as users write it.
        summary: what is special about it, in a few words.
        judge: the samples of a batch and all their boxes to which detections are correct.
        averages: of a ranking of all detections.
        ap50: the first of them alone, which takes less time.
        resize: how images are fitted, a row of `RESIZES`; None for as the detector says.
    """

    name: str
    summary: str
    judge: Callable[[Sequence[Sample], Predictions], Iterator[Matched]]
    averages: Callable[[Ranking], Averages]
    ap50: Callable[[Ranking], NDArray[np.float64]]
    resize: str | None = None


def coco(threshold: float = SCORE_THRESHOLD, iou_threshold: float = NMS_THRESHOLD) -> Protocol:
    """The `coco` protocol; scores above `threshold` count.

    Of boxes of a class whose IoU is above `iou_threshold` the best stays.
    """

    def judge(samples: Sequence[Sample], predictions: Predictions) -> Iterator[Matched]:
        selected = select_detections(predictions, threshold, iou_threshold, limit=DETECTION_LIMIT)
        for sample, found in zip(samples, selected, strict=True):
            placed = in_image(found, sample.placement, sample.size)
            yield match_image(placed, sample.truth, _nearest_and_coco_matches)

    return Protocol(
        name="coco",
        summary="pycocotools, original pixels",
        judge=judge,
        averages=_coco_averages,
        ap50=lambda ranking: coco_average_precisions(ranking, (1,))[0],
    )


def _nearest_and_coco_matches(found: Detections, truth: GroundTruth) -> Flags:
    """The first way is that of precision and recall, the others are COCO's."""
    return np.hstack((nearest_matches(found, truth), coco_matches(found, truth)))


def _coco_averages(ranking: Ranking) -> Averages:
    averages = coco_average_precisions(ranking, range(1, 1 + len(IOU_THRESHOLDS)))
    return averages[0], averages.mean(axis=0)


def _case_study_judge(samples: Sequence[Sample], predictions: Predictions) -> Iterator[Matched]:
    matcher = partial(nearest_matches, iou=pixel_box_iou)
    for sample, found in zip(samples, merge_detections(predictions), strict=True):
        boxes = boxes_to_network(sample.truth.boxes_xyxy, sample.placement)
        truth = GroundTruth(boxes_xyxy=boxes, labels=sample.truth.labels)
        yield match_image(found, truth, matcher)


CASE_STUDY = Protocol(
    name="case-study",
    summary="all-points AP, padded to a square",
    judge=_case_study_judge,
    averages=lambda ranking: (average_precisions(ranking), None),
    ap50=average_precisions,
    resize="pad-to-aspect",
)

PROTOCOLS: Mapping[str, Protocol] = {row.name: row for row in (CASE_STUDY, coco())}

DEFAULT_PROTOCOL = "coco"
"""By which networks are evaluated, and the best epoch is chosen, unless asked otherwise."""


def protocol_named(name: str) -> Protocol:
    """The protocol of this name; raises `UsageError` if there is none."""
    if name not in PROTOCOLS:
        raise UsageError(f"protocol {name!r} is not known: choose one of {', '.join(PROTOCOLS)}")
    return PROTOCOLS[name]
