"""Mean average precision of a detector on a data set, by one of the protocols in `protocols`."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import chain

import numpy as np
import torch

from yoloprune.counting import counted
from yoloprune.data.dataset import Dataset, LabeledImage
from yoloprune.data.images import read_image
from yoloprune.data.preprocess import ImageInput
from yoloprune.detection.decode import Predictions
from yoloprune.detection.nms import SCORE_THRESHOLD
from yoloprune.errors import ClassesError, DatasetError
from yoloprune.evaluation.average_precision import (
    GroundTruth,
    Matched,
    PrecisionRecall,
    Ranking,
    best_f1,
    precision_recall,
    rank,
)
from yoloprune.evaluation.details import Details, details
from yoloprune.evaluation.detector import Detector
from yoloprune.evaluation.protocols import DEFAULT_PROTOCOL, Protocol, Sample, protocol_named
from yoloprune.evaluation.streams import in_streams
from yoloprune.report.shown import Result, Shown
from yoloprune.reporter import SILENT, Reporter

SHOWN = f"mAP@0.5 above {SCORE_THRESHOLD}"
"""What `Evaluation.map50_shown` is called."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassEvaluation:
    """One class that the data set has objects of; AP in [0, 1]."""

    label: int
    name: str
    objects: int
    ap50: float
    ap50_95: float | None


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Evaluation(Result):
    """How well a network detects, by one protocol; all numbers in [0, 1].

    `map50` is the mean AP at IoU 0.5 over the classes with objects, `map50_95` that over IoU 0.5 to
    0.95 (None in `case-study`), `map50_shown` that at 0.5 of what scores above `SCORE_THRESHOLD`
    alone: what is left where users drop the rest. `precision` and `recall` at IoU 0.5, over all
    classes together, are those at the score threshold with the best F1; `curve` has them at every
    threshold where recall rises. `details` are there where they were asked for.
    """

    protocol: str
    map50: float
    map50_95: float | None
    map50_shown: float
    per_class: tuple[ClassEvaluation, ...]
    precision: float
    recall: float
    curve: PrecisionRecall = field(repr=False, compare=False)
    details: Details | None = field(default=None, repr=False, compare=False)

    def shown(self) -> Shown:
        """Every class, and the means."""
        means = ", ".join(f"{name} {value:.4f}" for name, value in self._means())
        document = asdict(self)
        del document["curve"], document["details"]
        return Shown(
            title=f"Classes ({self.protocol})",
            summary=f"{self.protocol}: {means}",
            header=("class", "objects", "AP@0.5", "AP@0.5:0.95"),
            rows=[
                (row.name, row.objects, f"{row.ap50:.4f}", decimal(row.ap50_95))
                for row in self.per_class
            ],
            lines=[means],
            document=document,
        )

    def _means(self) -> list[tuple[str, float]]:
        """What there is of the numbers over all classes, by their usual names."""
        named = {
            "mAP@0.5": self.map50,
            "mAP@0.5:0.95": self.map50_95,
            "precision": self.precision,
            "recall": self.recall,
            SHOWN: self.map50_shown,
        }
        return [(name, value) for name, value in named.items() if value is not None]


def decimal(value: float | None) -> str:
    """A share as tables show it."""
    return "-" if value is None else f"{value:.4f}"


def evaluate(
    detector: Detector,
    dataset: Dataset,
    protocol: str | Protocol = DEFAULT_PROTOCOL,
    *,
    batch_size: int | None = None,
    detailed: bool = False,
    reporter: Reporter = SILENT,
) -> Evaluation:
    """Evaluate by a protocol, or by the one of this name with its standard thresholds.

    With `detailed` the outcome has `details`. Raises `DatasetError` if an image cannot be read or
    no image has an object, `ClassesError` if the detector tells another number of classes apart,
    `UsageError` for an unknown protocol.
    """
    if isinstance(protocol, str):
        protocol = protocol_named(protocol)
    if detector.classes != len(dataset.names):
        raise ClassesError(
            f"the network has {counted(detector.classes, 'class')}, the data {len(dataset.names)}"
        )
    if not dataset.object_count:
        raise DatasetError(
            f"none of the {len(dataset.images)} images has an object: AP is undefined"
        )
    batch = batch_size or detector.batch_size
    classes = len(dataset.names)
    matched = _matched(detector, dataset, protocol, batch, reporter)
    if not detailed:
        return _evaluation(protocol, dataset.names, rank(matched, classes))
    images = list(matched)
    found = _evaluation(protocol, dataset.names, rank(images, classes))
    return replace(found, details=details(images, classes, protocol.ap50))


def ground_truth(labeled: LabeledImage, size: tuple[int, ...]) -> GroundTruth:
    """The objects of an image of this (height, width), in its pixels."""
    relative = torch.from_numpy(labeled.boxes)
    boxes = relative * relative.new_tensor((size[1], size[0], size[1], size[0]))
    return GroundTruth(boxes_xyxy=boxes, labels=torch.from_numpy(labeled.labels))


def _matched(
    detector: Detector, dataset: Dataset, protocol: Protocol, batch: int, reporter: Reporter
) -> Iterator[Matched]:
    """The detections of each image, matched; several batches at a time."""
    reads = detector.reads.resized(protocol.resize)

    def read(images: Sequence[LabeledImage]) -> list[Sample]:
        return [_sample(labeled, reads) for labeled in images]

    def predict(samples: list[Sample]) -> tuple[list[Sample], Predictions]:
        inputs = torch.from_numpy(np.stack([sample.fitted for sample in samples]))
        return samples, detector.predict(inputs)

    def judge(found: tuple[list[Sample], Predictions]) -> list[Matched]:
        return list(protocol.judge(*found))

    starts = range(0, len(dataset.images), batch)
    batches = (dataset.images[start : start + batch] for start in starts)
    if detector.on_gpu:
        # The processor reads ahead and suppresses behind while the GPU computes.
        judged = in_streams(judge, map(predict, in_streams(read, batches)))
    else:
        # An engine that has threads of its own has all of them, for one batch after the other.
        most = None if detector.concurrent else 1
        judged = in_streams(lambda images: judge(predict(read(images))), batches, most=most)
    results = chain.from_iterable(judged)
    for _, result in zip(reporter.track(dataset.images, "evaluating"), results, strict=True):
        yield result


def _sample(labeled: LabeledImage, reads: ImageInput) -> Sample:
    image = read_image(labeled.path, reads.channels)
    size = image.shape[:2]
    fitted, placement = reads.fit(image)
    return Sample(fitted=fitted, placement=placement, size=size, truth=ground_truth(labeled, size))


def _evaluation(protocol: Protocol, names: Sequence[str], ranking: Ranking) -> Evaluation:
    ap50, ap50_95 = protocol.averages(ranking)
    objects = ranking.objects
    correct = ranking.correct()
    precisions, recalls = precision_recall(correct, int(objects.sum()))
    precision, recall = best_f1(precisions, recalls)
    return Evaluation(
        protocol=protocol.name,
        map50=float(np.nanmean(ap50)),
        map50_95=None if ap50_95 is None else float(np.nanmean(ap50_95)),
        map50_shown=float(np.nanmean(protocol.ap50(ranking.only_shown()))),
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
