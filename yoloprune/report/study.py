"""A case study in memory: everything that its report is made from.

Whatever was not measured is absent (None, or a missing key) and shown as such; nothing here is
filled in.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from yoloprune.data.images import Image
from yoloprune.detection.decode import Detections
from yoloprune.engines.benchmark import Latency
from yoloprune.evaluation.average_precision import GroundTruth, PrecisionRecall
from yoloprune.evaluation.details import Details, interval
from yoloprune.graph.model import Model
from yoloprune.pruning.plan import PruningPlan

HEADLINE_ENGINE = "ONNX Runtime"

ORIGINAL, PRUNED, REFITTED = "Original", "Pruned", "Re-fitted"
DISTILLED, FINE_TUNED = "Distilled", "Fine-tuned"
"""The rows of the case study, in their order; controls follow under names of their own."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Accuracy:
    """What one protocol found on the test images, in [0, 1]; `map50_95` belongs to `coco` alone."""

    map50: float
    map50_95: float | None = None
    curve: PrecisionRecall | None = None
    details: Details | None = None

    @property
    def interval(self) -> tuple[float, float] | None:
        """Between which values `map50` is with `CONFIDENCE`, if it was drawn again."""
        return None if self.details is None else interval(self.details.draws)

    def gain(self, before: "Accuracy") -> tuple[float, float] | None:
        """Between which values the change from `before` is, in draws of the same images."""
        if self.details is None or before.details is None:
            return None
        ours, theirs = self.details.draws, before.details.draws
        return interval(ours - theirs) if len(ours) == len(theirs) else None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Measurement:
    """One network: a row of the table.

    `latency` by engine, the one that the table shows first; `accuracy` by protocol; `seconds` is
    what making it took, after the network that it was made from; `note` says in a sentence what the
    network is, where the name does not.
    """

    name: str
    params: int | None = None
    macs: int | None = None
    weight_bytes: int | None = None
    latency: Mapping[str, Latency] = field(default_factory=dict)
    accuracy: Mapping[str, Accuracy] = field(default_factory=dict)
    seconds: float | None = None
    note: str = ""

    def median_ms(self, engine: str | None) -> float | None:
        """Median latency in an engine, if it was measured."""
        latency = None if engine is None else self.latency.get(engine)
        return None if latency is None else latency.median

    def map50(self, protocol: str) -> float | None:
        """mAP@0.5 by a protocol, if it was evaluated."""
        found = self.accuracy.get(protocol)
        return None if found is None else found.map50

    @property
    def map50_95(self) -> float | None:
        """mAP@0.5:0.95, which the `coco` protocol alone has."""
        found = self.accuracy.get("coco")
        return None if found is None else found.map50_95


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingLog:
    """The lines of a log.jsonl; `follows` names the training that this one goes on from, if any."""

    lines: Sequence[Mapping[str, Any]]
    follows: str | None = None

    @property
    def epochs(self) -> int:
        """Length of this training alone."""
        return max((line["epoch"] for line in self.lines), default=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetSummary:
    """The data: numbers of images and of labeled objects by split ("training", ...).

    The last is the one that networks were judged on. A split without labels has no number of
    objects. `warnings` say what was missing or damaged.
    """

    name: str
    images: Mapping[str, int]
    objects: Mapping[str, int]
    classes: tuple[str, ...]
    warnings: tuple[str, ...] = ()

    @property
    def judged(self) -> str:
        """The split that networks were judged on: that of tests, where none is named."""
        return next(reversed([*self.images]), "test")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Selection:
    """What was pruned by: the plan and, by group id, the comparable scores it was made from."""

    plan: PruningPlan
    scores: Mapping[int, NDArray[np.float64]]

    def split(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Scores of all channels that were kept, and of all that were removed."""
        kept, removed = [np.zeros(0)], [np.zeros(0)]
        for group_id, scores in self.scores.items():
            stays = np.zeros(len(scores), np.bool_)
            stays[list(self.plan.keep.get(group_id, range(len(scores))))] = True
            kept.append(scores[stays])
            removed.append(scores[~stays])
        return np.concatenate(kept), np.concatenate(removed)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Example:
    """An image with what is in it, if that is known, and what two networks detect; in its pixels.

    Detections are those that score at least `detection.nms.SCORE_THRESHOLD`. `name` is the image's,
    for captions.
    """

    image: Image
    truth: GroundTruth | None
    dense: Detections
    slim: Detections
    name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """Something that was to be verified, and to which error it was.

    `relative_error` is the largest that was found, `allowed` the tolerance; both are None for what
    holds or does not (equal groups). `basis` says on what: "float64, 4 images". `problem` says why
    the statement does not hold, or could not be verified; it is empty where it was.
    """

    statement: str
    relative_error: float | None = None
    allowed: float | None = None
    basis: str = ""
    problem: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A command line that repeats a stage, with the seed it used, where it draws numbers."""

    stage: str
    line: str
    seed: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportedFiles:
    """Paths of the slim network's files as a user would type them.

    `names` is the text file of class names; `onnx` a Darknet network with its outputs decoded
    (`boxes` and `scores`, see `yoloprune.exporters.interface`), or one that came as an .onnx;
    `interface` says in sentences what slim.onnx, decoded or not, wants and gives. `settings` are
    those by which `yoloprune detect` reads it.
    """

    cfg: str | None = None
    weights: str | None = None
    names: str | None = None
    onnx: str | None = None
    interface: Sequence[str] = ()
    settings: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Study:
    """Everything that the report shows.

    `measurements` begin with the original network, to which the others are compared; `training` is
    by the name of the row, each after the one that it follows. `pair` are images in which the
    outcome finds what the original finds, and in which it does not; `examples` are more, and
    `chosen` says in a sentence how. `threads` are those of a CPU that times were taken on;
    `distillation` is what was left of the distance to the dense network, by step. Sections without
    data are left out.
    """

    title: str
    dataset: DatasetSummary | None
    measurements: Sequence[Measurement]
    dense: Model | None = None
    slim: Model | None = None
    selection: Selection | None = None
    training: Mapping[str, TrainingLog] = field(default_factory=dict)
    distillation: Sequence[tuple[int, float]] = ()
    pair: Sequence[Example] = ()
    examples: Sequence[Example] = ()
    chosen: str = ""
    checks: Sequence[Check] = ()
    commands: Sequence[Command] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, Any] = field(default_factory=dict)
    threads: int | None = None
    exported: ExportedFiles | None = None

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, where there is data."""
        return () if self.dataset is None else self.dataset.classes

    @property
    def protocol(self) -> str:
        """The protocol of the results table: the case study's, unless another was used alone."""
        used = {name for row in self.measurements for name in row.accuracy}
        return "coco" if used == {"coco"} else "case-study"

    @property
    def engines(self) -> tuple[str, ...]:
        """Engines that any network was timed in."""
        return tuple(dict.fromkeys(name for row in self.measurements for name in row.latency))

    @property
    def engine(self) -> str | None:
        """The engine of the results table: ONNX Runtime, which most networks run in."""
        return (
            HEADLINE_ENGINE if HEADLINE_ENGINE in self.engines else next(iter(self.engines), None)
        )

    @property
    def original(self) -> Measurement | None:
        """The network that the others are compared to."""
        return self.named(ORIGINAL)

    @property
    def outcome(self) -> Measurement | None:
        """The network that the study ends with: the furthest one after pruning."""
        found = map(self.named, (FINE_TUNED, DISTILLED, REFITTED, PRUNED))
        return next((row for row in found if row is not None), None)

    def named(self, name: str) -> Measurement | None:
        """The row with this name, if there is one."""
        return next((row for row in self.measurements if row.name == name), None)
