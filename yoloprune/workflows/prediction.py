"""What a slim network will keep of the dense one's mAP, told without labels.

The dense network's detections stand for objects, each for as much of one as its score says. What a
slim network finds of them, on images that it was not fitted on, gives an expected mAP; as a share
of what the dense network's own detections give, that is the agreement. Errors at the outputs tell
less: most of an output is background.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from yoloprune.data.calibration import Calibration, choose_calibration
from yoloprune.data.inputs import image_input, surface
from yoloprune.data.read import dataset_images
from yoloprune.detection.boxes import box_iou
from yoloprune.detection.decode import Detections
from yoloprune.detection.decoders.table import recognized
from yoloprune.detection.nms import select_detections
from yoloprune.errors import DatasetError
from yoloprune.evaluation.average_precision import average_precision, precision_recall
from yoloprune.evaluation.coco import DETECTION_LIMIT
from yoloprune.evaluation.detector import Detector
from yoloprune.evaluation.protocols import NMS_THRESHOLD, SCORE_THRESHOLD
from yoloprune.frontends.darknet.document import DarknetDocument
from yoloprune.graph.model import Model
from yoloprune.report.sweep_plot import SweepPoint
from yoloprune.reporter import Reporter
from yoloprune.workflows.detectors import detector
from yoloprune.workflows.judges import Judge, judge_by_error
from yoloprune.workflows.overlap import without

PREDICTED = "predicted fraction of mAP"

IMAGES = 64
"""Images that are foretold by, where there are so many; a third of those at hand, where not."""

REHEARSED = (0.95, 0.9, 0.8)
"""Shares of the MACs that `REHEARSAL` keeps, by which it loses little, some, and most."""

REHEARSAL = "l2"
"""A criterion that loses much more than others do at the same share."""

POWERS = tuple(2 ** (number / 16) for number in range(-32, 33))

LEAST_SCORE = 0.05
"""Under which a detection of the dense network stands for no object."""

REGAINED = (0.6, 1.0)
"""Of what a re-fit had lost, the shares that fine-tuning with labels has brought back.

In four networks, at 0.05 to 0.5 of the MACs (`docs/guide/recover.md`); not of any other."""

IOU = 0.5
"""From which a box finds another."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Forecast:
    """Foretells the share of the dense network's mAP that slim ones keep.

    Attributes:
        made: a network to what finds boxes with it.
        images: (B, C, H, W) network inputs, which the slim networks are not fitted on.
        objects: what the dense network finds on them.
        own: the expected mAP of the dense network itself.
        power: how soon what is lost at the detections is lost in mAP, see `kept_share`.
    """

    made: Callable[[Model], Detector]
    images: Tensor
    objects: tuple[Detections, ...]
    own: float
    power: float = 1.0

    def agreement(self, slim: Model) -> float:
        """The expected mAP of a slim network as a share of the dense one's, in [0, 1]."""
        if self.own == 0:
            return 0.0
        found = detected(self.made(slim), self.images)
        return min(1.0, expected_map(self.objects, found) / self.own)

    def share(self, slim: Model) -> float:
        """The share of the dense network's mAP that a slim network keeps, in [0, 1]."""
        return kept_share(self.agreement(slim), self.power)

    def fitted(
        self, dense: Model, rehearsed: Iterable[Model], measured: Callable[[Model], float]
    ) -> "Forecast":
        """The forecast with the power that fits a few `rehearsed` slim networks.

        The mAP of these and of the dense network is `measured`; of no other anything is.
        """
        whole = measured(dense)
        if whole == 0:
            return self
        pairs = [(self.agreement(slim), measured(slim) / whole) for slim in rehearsed]

        def loss(power: float) -> float:
            return sum((kept_share(told, power) - kept) ** 2 for told, kept in pairs)

        return replace(self, power=min(POWERS, key=loss))


def foretold(
    dense: Model,
    calibration: Calibration,
    *,
    device: torch.device,
    preprocess: str | None = None,
    decoder: str | None = None,
) -> Forecast | None:
    """What foretells by the unseen images, or None where no decoder knows the outputs.

    Raises what `detector` raises.
    """
    images = calibration.unseen
    said = isinstance(dense.document, DarknetDocument) or decoder is not None
    reads = calibration.reads
    if not said and (reads is None or recognized(surface(dense, reads)) is None):
        return None
    if not len(images):
        raise DatasetError("of one or two images none is left to foretell by: give more `images`")
    made = partial(detector, device=device, preprocess=preprocess, decoder=decoder, read_as=dense)
    objects = tuple(detected(made(dense), images))
    return Forecast(made=made, images=images, objects=objects, own=expected_map(objects, objects))


def kept_share(agreement: float, power: float) -> float:
    """The share of mAP that goes with an agreement.

    What the dense network is sure of is lost last, and counts most where few objects are found.
    """
    return 1 - math.pow(1 - agreement, power)


def finetuned(figure: float, dense: float) -> tuple[float, float]:
    """Between what fine-tuning with labels may bring a re-fitted network, by `REGAINED`."""
    lost = max(0.0, dense - figure)
    low, high = (figure + share * lost for share in REGAINED)
    return low, high


def judged_unseen(network: Model, calibration: Calibration, told: Forecast | None) -> Judge:
    """By what is foretold, of which the dense network keeps 1, or else by the error."""
    judge = judge_by_error(network, calibration)
    if told is None:
        return judge
    return replace(judge, measure=PREDICTED, judge=told.share)


def calibration_apart(
    network: Model,
    source: Path,
    count: int,
    judge: Judge | None,
    *,
    seed: int,
    preprocess: str | None,
    reporter: Reporter,
) -> Calibration:
    """Images to fit on and others to foretell by (`unseen`), none of which is judged on."""
    paths: Sequence[Path] = dataset_images(source)
    if judge is not None:
        paths = without(source, paths, judge.paths, reporter)
    apart = min(IMAGES, len(paths) // 3)
    reads = image_input(network, preprocess)
    return choose_calibration(
        network, reads, source, paths, min(count, len(paths) - apart), seed, reporter, unseen=apart
    )


def knee(points: Sequence[SweepPoint], dense: float) -> SweepPoint:
    """The point that keeps most accuracy beyond its share of the MACs."""

    def gain(point: SweepPoint) -> float:
        figure = point.figure if point.predicted is None else point.predicted
        return (figure / dense if dense else 0.0) - point.keep_macs

    return max(points, key=gain)


def prediction_errors(points: Sequence[SweepPoint]) -> dict[str, float]:
    """How far predictions were from what was measured: the mean, and Spearman's correlation."""
    pairs = [(p.predicted, p.figure) for p in points if p.predicted is not None]
    if not pairs:
        return {}
    told, found = (np.array(values) for values in zip(*pairs, strict=True))
    errors = {"mean_error": float(np.abs(told - found).mean())}
    x, y = (rank - rank.mean() for rank in (_ranks(told), _ranks(found)))
    if len(pairs) > 2 and x.any() and y.any():
        errors["spearman"] = float(x @ y / math.sqrt((x @ x) * (y @ y)))
    return errors


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Equal values have the mean of their ranks."""
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    middles = np.asarray(np.cumsum(counts) - (counts - 1) / 2, dtype=np.float64)
    return middles[places]


def detected(detector: Detector, images: Tensor) -> list[Detections]:
    """What a detector finds on network inputs, by the thresholds of the `coco` protocol."""
    found = []
    for chunk in torch.split(images, detector.batch_size):
        predictions = detector.predict(chunk)
        found += select_detections(
            predictions, SCORE_THRESHOLD, NMS_THRESHOLD, limit=DETECTION_LIMIT
        )
    return found


def expected_map(objects: Sequence[Detections], found: Sequence[Detections]) -> float:
    """The mAP at IoU 0.5 that is expected of detections, image by image.

    Each of the `objects` is there with the probability that its score says. The mean is over the
    classes that have any; 0 without.
    """
    surely = [own.scores >= LEAST_SCORE for own in objects]
    there = [
        Detections(
            boxes_xyxy=own.boxes_xyxy[some], scores=own.scores[some], labels=own.labels[some]
        )
        for own, some in zip(objects, surely, strict=True)
    ]
    weights = np.bincount(
        torch.cat([own.labels for own in there]).numpy(),
        weights=torch.cat([own.scores for own in there]).double().numpy(),
    )
    scores = torch.cat([other.scores for other in found]).numpy()
    order = np.argsort(-scores, kind="stable")
    labels = torch.cat([other.labels for other in found]).numpy()[order]
    hits = np.concatenate([_hits(*pair) for pair in zip(there, found, strict=True)])[order]
    each = [
        average_precision(*precision_recall(hits[labels == label], weights[label]))
        for label in np.flatnonzero(weights)
    ]
    return float(np.mean(each)) if each else 0.0


def _hits(objects: Detections, found: Detections) -> NDArray[np.float64]:
    """How much of an object each detection finds, highest score first: the first has it all."""
    hits = np.zeros(len(found.scores))
    if not len(objects.scores) or not len(hits):
        return hits
    other = found.labels[:, None] != objects.labels[None]
    overlaps = box_iou(found.boxes_xyxy, objects.boxes_xyxy).masked_fill(other, -1.0).numpy()
    nearest = overlaps.argmax(axis=1)
    reach = np.flatnonzero(overlaps.max(axis=1) >= IOU)
    _, first = np.unique(nearest[reach], return_index=True)
    hits[reach[first]] = objects.scores.double().numpy()[nearest[reach[first]]]
    return hits
