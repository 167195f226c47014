"""Mean average precision of a network on a data set, by one of two protocols.

`case-study`: the image padded with black to the network's aspect ratio, a square usually, and
resized by nearest neighbour; boxes with an objectness of at least 0.01; merging suppression at IoU
0.5; all-points AP at IoU 0.5 in the pixels of the padded network input, ranked by objectness, IoU
counting corner pixels. It has no AP at other IoU thresholds.

`coco`: the image resized as darknet does; every class above a small score counts; suppression
within each class; pycocotools' AP50 and AP50:95 in the pixels of the original images.

The two give different numbers for the same network: compare only within one of them.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
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
    Placement,
    box_cxcywh_to_xyxy,
    boxes_to_network,
    pixel_box_iou,
)
from yoloprune.detection.decode import Detections, Predictions
from yoloprune.detection.nms import merge_detections, select_detections
from yoloprune.errors import CfgError, DatasetError
from yoloprune.evaluation.average_precision import (
    GroundTruth,
    PrecisionRecall,
    Ranking,
    average_precisions,
    best_f1,
    precision_recall,
    rank,
)
from yoloprune.evaluation.coco import coco_average_precisions
from yoloprune.evaluation.inference import in_image, predict
from yoloprune.model.network import Network

Protocol: TypeAlias = Literal["case-study", "coco"]

DEFAULT_PROTOCOL: Protocol = "coco"
"""By which networks are evaluated, and the best epoch is chosen, unless asked otherwise."""

Progress: TypeAlias = Callable[[Sequence[LabelledImage]], Iterable[LabelledImage]]
"""Wraps the images that are iterated over, for a progress bar."""

SCORE_THRESHOLD = 0.005
"""Scores that count in the `coco` protocol: low, for AP takes in the whole curve."""

NMS_THRESHOLD = 0.45
"""IoU above which the `coco` protocol suppresses; darknet's default."""


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
    batch_size: int = 8,
    progress: Progress = iter,
) -> Evaluation:
    """Evaluate by the named protocol with its standard thresholds.

    Raises `DatasetError` if an image cannot be read or no image has an object, `CfgError` if the
    network cannot detect in RGB or grey images or tells another number of classes apart.
    """
    if protocol == "case-study":
        return evaluate_case_study(network, dataset, batch_size=batch_size, progress=progress)
    return evaluate_coco(network, dataset, batch_size=batch_size, progress=progress)


def evaluate_case_study(
    network: Network, dataset: Dataset, *, batch_size: int = 8, progress: Progress = iter
) -> Evaluation:
    """Evaluate by the `case-study` protocol (see the module's description)."""
    detections: list[Detections] = []
    truths: list[GroundTruth] = []
    for samples, predictions in _predicted(network, dataset, pad_to_aspect, batch_size, progress):
        detections += merge_detections(predictions)
        for sample in samples:
            boxes = boxes_to_network(sample.truth.boxes_xyxy, sample.placement)
            truths.append(GroundTruth(boxes_xyxy=boxes, labels=sample.truth.labels))
    ranking = rank(detections, truths, len(dataset.names), iou=pixel_box_iou)
    return _evaluation("case-study", dataset.names, ranking, average_precisions(ranking), None)


def evaluate_coco(
    network: Network,
    dataset: Dataset,
    *,
    threshold: float = SCORE_THRESHOLD,
    iou_threshold: float = NMS_THRESHOLD,
    batch_size: int = 8,
    progress: Progress = iter,
) -> Evaluation:
    """Evaluate by the `coco` protocol (see the module's description).

    Scores above `threshold` count; of boxes of a class whose IoU is above `iou_threshold` the best
    stays.
    """
    detections: list[Detections] = []
    truths: list[GroundTruth] = []
    resize = darknet_resize(network.spec)
    for samples, predictions in _predicted(network, dataset, resize, batch_size, progress):
        selected = select_detections(predictions, threshold, iou_threshold)
        for sample, found in zip(samples, selected, strict=True):
            detections.append(in_image(found, sample.placement, sample.size))
            truths.append(sample.truth)
    averages = coco_average_precisions(detections, truths, len(dataset.names))
    ranking = rank(detections, truths, len(dataset.names))
    return _evaluation("coco", dataset.names, ranking, averages[0], averages.mean(axis=0))


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


def _predicted(
    network: Network, dataset: Dataset, resize: Resize, batch_size: int, progress: Progress
) -> Iterator[tuple[list[_Sample], Predictions]]:
    """Run the network over the data set, batch by batch."""
    classes = class_count(network.spec)
    if classes != len(dataset.names):
        raise CfgError(f"the network has {classes} classes, the data {len(dataset.names)}")
    if not dataset.object_count:
        raise DatasetError(
            f"none of the {len(dataset.images)} images has an object: AP is undefined"
        )
    samples: list[_Sample] = []
    for number, labelled in enumerate(progress(dataset.images), start=1):
        samples.append(_sample(labelled, resize, network.spec))
        if len(samples) == batch_size or number == len(dataset.images):
            yield samples, predict(network, [sample.fitted for sample in samples])
            samples = []


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
    precisions, recalls = precision_recall(ranking.correct, int(objects.sum()))
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
        curve=PrecisionRecall(
            precision=precisions[ranking.correct], recall=recalls[ranking.correct]
        ),
    )
