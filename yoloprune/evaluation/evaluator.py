"""Mean average precision of a network on a data set, by one of two protocols.

`case-study`: the image padded with black to the network's aspect ratio, a square usually, and
resized by nearest neighbour; boxes with an objectness of at least 0.01; merging suppression at IoU
0.5; all-points AP at IoU 0.5 in the pixels of the padded network input, ranked by objectness, IoU
counting corner pixels. It has no AP at other IoU thresholds.

`coco`: the image resized as darknet does; every class above a small score counts; suppression
within each class, of which an image's best 100 detections count; pycocotools' AP50 and AP50:95 in
the pixels of the original images.

The two give different numbers for the same network: compare only within one of them.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from typing import Literal, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from yoloprune.darknet.spec import NetworkSpec, class_count
from yoloprune.data.dataset import Dataset, LabelledImage
from yoloprune.data.images import (
    NetworkInput,
    Resize,
    darknet_resize,
    image_channels,
    pad_to_aspect,
    read_image,
)
from yoloprune.detection.boxes import (
    box_cxcywh_to_xyxy,
    boxes_to_network,
    pixel_box_iou,
)
from yoloprune.detection.decode import Detections, Predictions
from yoloprune.detection.nms import merge_detections, select_detections
from yoloprune.detection.placement import Placement
from yoloprune.errors import CfgError, DatasetError
from yoloprune.evaluation.average_precision import (
    Flags,
    GroundTruth,
    Matched,
    PrecisionRecall,
    Ranking,
    average_precisions,
    best_f1,
    match_image,
    nearest_matches,
    precision_recall,
    rank,
)
from yoloprune.evaluation.coco import (
    DETECTION_LIMIT,
    IOU_THRESHOLDS,
    coco_average_precisions,
    coco_matches,
)
from yoloprune.evaluation.inference import in_image, predict
from yoloprune.evaluation.streams import in_streams
from yoloprune.model.network import Network
from yoloprune.reporter import SILENT, Reporter

Protocol: TypeAlias = Literal["case-study", "coco"]

DEFAULT_PROTOCOL: Protocol = "coco"
"""By which networks are evaluated, and the best epoch is chosen, unless asked otherwise."""


SCORE_THRESHOLD = 0.005
"""Scores that count in the `coco` protocol: low, for AP takes in the whole curve."""

NMS_THRESHOLD = 0.45
"""IoU above which the `coco` protocol suppresses; darknet's default."""

BATCH_SIZE = 2
"""Images that a network reads at once: more take memory and, on a CPU, save no time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassEvaluation:
    """One class that the data set has objects of; AP in [0, 1]."""

    label: int
    name: str
    objects: int
    ap50: float
    ap50_95: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """How well a network detects, by one protocol; all numbers in [0, 1].

    `map50` is the mean AP at IoU 0.5 over the classes with objects, `map50_95` that over IoU 0.5 to
    0.95 (None in `case-study`). `precision` and `recall` at IoU 0.5, over all classes together, are
    those at the score threshold with the best F1; `curve` has them at every threshold where recall
    rises.
    """

    protocol: Protocol
    map50: float
    map50_95: float | None
    per_class: tuple[ClassEvaluation, ...]
    precision: float
    recall: float
    curve: PrecisionRecall = field(repr=False, compare=False)


def evaluate(
    network: Network,
    dataset: Dataset,
    protocol: Protocol,
    *,
    batch_size: int = BATCH_SIZE,
    reporter: Reporter = SILENT,
) -> Evaluation:
    """Evaluate by the named protocol with its standard thresholds.

    Raises `DatasetError` if an image cannot be read or no image has an object, `CfgError` if the
    network cannot detect in RGB or grey images or tells another number of classes apart.
    """
    if protocol == "case-study":
        return evaluate_case_study(network, dataset, batch_size=batch_size, reporter=reporter)
    return evaluate_coco(network, dataset, batch_size=batch_size, reporter=reporter)


def evaluate_case_study(
    network: Network, dataset: Dataset, *, batch_size: int = BATCH_SIZE, reporter: Reporter = SILENT
) -> Evaluation:
    """Evaluate by the `case-study` protocol (see the module's description)."""
    matcher = partial(nearest_matches, iou=pixel_box_iou)

    def judge(samples: list[_Sample], predictions: Predictions) -> Iterator[Matched]:
        for sample, found in zip(samples, merge_detections(predictions), strict=True):
            boxes = boxes_to_network(sample.truth.boxes_xyxy, sample.placement)
            truth = GroundTruth(boxes_xyxy=boxes, labels=sample.truth.labels)
            yield match_image(found, truth, matcher)

    matched = _matched(network, dataset, pad_to_aspect, judge, batch_size, reporter)
    ranking = rank(matched, len(dataset.names))
    return _evaluation("case-study", dataset.names, ranking, average_precisions(ranking), None)


def evaluate_coco(
    network: Network,
    dataset: Dataset,
    *,
    threshold: float = SCORE_THRESHOLD,
    iou_threshold: float = NMS_THRESHOLD,
    batch_size: int = BATCH_SIZE,
    reporter: Reporter = SILENT,
) -> Evaluation:
    """Evaluate by the `coco` protocol (see the module's description).

    Scores above `threshold` count; of boxes of a class whose IoU is above `iou_threshold` the best
    stays.
    """

    def judge(samples: list[_Sample], predictions: Predictions) -> Iterator[Matched]:
        selected = select_detections(predictions, threshold, iou_threshold, limit=DETECTION_LIMIT)
        for sample, found in zip(samples, selected, strict=True):
            placed = in_image(found, sample.placement, sample.size)
            yield match_image(placed, sample.truth, _nearest_and_coco_matches)

    resize = darknet_resize(network.spec)
    matched = _matched(network, dataset, resize, judge, batch_size, reporter)
    ranking = rank(matched, len(dataset.names))
    averages = coco_average_precisions(ranking, range(1, 1 + len(IOU_THRESHOLDS)))
    return _evaluation("coco", dataset.names, ranking, averages[0], averages.mean(axis=0))


def _nearest_and_coco_matches(found: Detections, truth: GroundTruth) -> Flags:
    """The first way is that of precision and recall, the others are COCO's."""
    return np.hstack((nearest_matches(found, truth), coco_matches(found, truth)))


def ground_truth(labelled: LabelledImage, size: tuple[int, ...]) -> GroundTruth:
    """The objects of an image of this (height, width), in its pixels."""
    relative = box_cxcywh_to_xyxy(torch.from_numpy(labelled.boxes))
    boxes = relative * relative.new_tensor((size[1], size[0], size[1], size[0]))
    return GroundTruth(boxes_xyxy=boxes, labels=torch.from_numpy(labelled.labels))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Sample:
    """A network input; where in it the image lies; the image's (height, width) and objects."""

    fitted: NetworkInput
    placement: Placement
    size: tuple[int, ...]
    truth: GroundTruth


def _matched(
    network: Network,
    dataset: Dataset,
    resize: Resize,
    judge: Callable[[list[_Sample], Predictions], Iterable[Matched]],
    batch_size: int,
    reporter: Reporter,
) -> Iterator[Matched]:
    """The detections of each image, matched by `judge`; several batches at a time."""
    classes = class_count(network.spec)
    if classes != len(dataset.names):
        raise CfgError(f"the network has {classes} classes, the data {len(dataset.names)}")
    if not dataset.object_count:
        raise DatasetError(
            f"none of the {len(dataset.images)} images has an object: AP is undefined"
        )
    detector = network.for_inference()

    def work(images: Sequence[LabelledImage]) -> list[Matched]:
        samples = [_sample(labelled, resize, network.spec) for labelled in images]
        return list(judge(samples, predict(detector, [sample.fitted for sample in samples])))

    starts = range(0, len(dataset.images), batch_size)
    batches = (dataset.images[start : start + batch_size] for start in starts)
    results = chain.from_iterable(in_streams(work, batches))
    for _, result in zip(reporter.track(dataset.images, "evaluating"), results, strict=True):
        yield result


def _sample(labelled: LabelledImage, resize: Resize, spec: NetworkSpec) -> _Sample:
    image = read_image(labelled.path, image_channels(spec))
    size = image.shape[:2]
    fitted, placement = resize(image, *spec.input_shape[1:])
    return _Sample(
        fitted=fitted, placement=placement, size=size, truth=ground_truth(labelled, size)
    )


def _evaluation(
    protocol: Protocol,
    names: Sequence[str],
    ranking: Ranking,
    ap50: NDArray[np.float64],
    ap50_95: NDArray[np.float64] | None,
) -> Evaluation:
    objects = ranking.objects
    correct = ranking.correct()
    precisions, recalls = precision_recall(correct, int(objects.sum()))
    precision, recall = best_f1(precisions, recalls)
    return Evaluation(
        protocol=protocol,
        map50=float(np.nanmean(ap50)),
        map50_95=None if ap50_95 is None else float(np.nanmean(ap50_95)),
        per_class=tuple(
            ClassEvaluation(
                label=label,
                name=names[label],
                objects=int(objects[label]),
                ap50=float(ap50[label]),
                ap50_95=None if ap50_95 is None else float(ap50_95[label]),
            )
            for label in np.flatnonzero(objects).tolist()
        ),
        precision=precision,
        recall=recall,
        curve=PrecisionRecall(precision=precisions[correct], recall=recalls[correct]),
    )
