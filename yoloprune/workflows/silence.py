"""Which anchors and scales of a detector never find anything on some images."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from yoloprune.data.calibration import fitted_images, warn_of_skipped
from yoloprune.data.inputs import image_input
from yoloprune.data.preprocess import ImageInput
from yoloprune.data.read import dataset_images
from yoloprune.detection.decode import decode
from yoloprune.engines.batches import outputs_of
from yoloprune.engines.table import run_in
from yoloprune.errors import DatasetError, UsageError, WeightsError
from yoloprune.evaluation.decoded import Reading
from yoloprune.execution.stream import only_input
from yoloprune.frontends.darknet.document import DarknetDocument, darknet
from yoloprune.graph.model import Model
from yoloprune.pruning.prove import outputs
from yoloprune.reporter import Reporter

TOGETHER = 8
"""Images at a time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Silence:
    """The highest score that a box of each anchor had on so many images, by the head's layer.

    Scores are those of the classes that are asked for; anchors at most at `below` are silent. Of an
    ONNX network the boxes of a whole scale, by its number, stand for one anchor's (`unit`).
    """

    below: float
    images: int
    scores: Mapping[int, tuple[float, ...]]
    unit: str = "layer"

    @property
    def heard(self) -> dict[int, tuple[int, ...]]:
        """Numbers of the anchors that are not silent."""
        return {
            layer: tuple(number for number, score in enumerate(own) if score > self.below)
            for layer, own in self.scores.items()
        }

    def __str__(self) -> str:
        """What is silent, and how loud the loudest of it is."""
        heard = self.heard
        parts = []
        for layer, own in self.scores.items():
            gone = [number for number in range(len(own)) if number not in heard[layer]]
            if gone:
                most = max(own[number] for number in gone)
                numbers = ", ".join(map(str, gone))
                which = f"{self.unit} {layer}"
                which = f"anchor {numbers} of {which}" if heard[layer] else which
                parts.append(f"{which} (at most {most:.2g})")
        return (
            f"never above a score of {self.below:g} on {self.images} images, and removed: "
            f"{', '.join(parts) or 'nothing'}"
        )


def listened(
    network: Model, classes: Sequence[int], source: Path, below: float, reporter: Reporter
) -> Silence:
    """The silence of a Darknet network's anchors on all images of a folder, list or .data file.

    It is computed in float32, as programs do. Raises `UsageError` for a score that is none, or
    where all anchors are silent; `DatasetError` if no image can be read, `WeightsError` for scores
    that are not finite.
    """
    document = darknet(network)
    found, count = _heard(
        image_input(network),
        lambda images: _loudest(network, document, classes, images),
        source,
        below,
        reporter,
    )
    scores = {
        head.index: tuple(own.tolist())
        for head, own in zip(document.spec.heads, found, strict=True)
    }
    return Silence(below=below, images=count, scores=scores)


def listened_scales(
    network: Model,
    read: Reading,
    sizes: Sequence[int],
    source: Path,
    below: float,
    reporter: Reporter,
) -> Silence:
    """The silence of an ONNX network's scales, of so many boxes each; raises what `listened` does.

    Raises `UsageError` too where its decoder finds another number of boxes.
    """
    run = run_in(network, device=torch.device("cpu"))

    def loudest(images: Tensor) -> list[Tensor]:
        boxes = read.decode(outputs_of(run, network.graph, images))
        scores = boxes.objectness * boxes.classes.amax(dim=-1)
        if scores.shape[1] != sum(sizes):
            raise UsageError(
                f"{network.document.title}: its decoder makes {scores.shape[1]} boxes of the "
                f"{sum(sizes)} that it gives: which scale they are of does not show"
            )
        return [part.amax()[None] for part in torch.split(scores, list(sizes), dim=1)]

    found, count = _heard(read.reads, loudest, source, below, reporter)
    scores = {number: tuple(own.tolist()) for number, own in enumerate(found)}
    return Silence(below=below, images=count, scores=scores, unit="scale")


def _heard(
    reads: ImageInput,
    loudest: Callable[[Tensor], list[Tensor]],
    source: Path,
    below: float,
    reporter: Reporter,
) -> tuple[list[Tensor], int]:
    """The highest scores of each head's anchors on all images, and how many could be read."""
    if not 0 <= below < 1:
        raise UsageError(f"silent_below={below:g} must be a score, in [0, 1)")
    paths = dataset_images(source)
    starts = range(0, len(paths), TOGETHER)
    parts: list[list[Tensor]] = []
    count = 0
    for start in reporter.track(starts, "listening to the anchors"):
        with suppress(DatasetError):
            part = paths[start : start + TOGETHER]
            images, _, _ = fitted_images(reads, source, part, TOGETHER)
            parts.append(loudest(images))
            count += len(images)
    if not parts:
        raise DatasetError(f"{source}: none of its {len(paths)} images can be read")
    warn_of_skipped(len(paths) - count, reporter)
    found = [torch.stack(own).amax(dim=0) for own in zip(*parts, strict=True)]
    if not all(own.isfinite().all() for own in found):
        raise WeightsError(
            f"{source}: the network gives scores that are not finite: its weights are damaged, or "
            "its training diverged"
        )
    most = max(float(own.max()) for own in found)
    if most <= below:
        raise UsageError(
            f"{source}: no box scores above silent_below={below:g} on any of {count} images (at "
            f"most {most:.3g}): nothing would be left"
        )
    return found, count


def _loudest(
    network: Model, document: DarknetDocument, classes: Sequence[int], images: Tensor
) -> list[Tensor]:
    """The highest score of each anchor, (A,) for each head."""
    inputs = {only_input(network.graph): images}
    maps = outputs(network.graph, network.parameters, inputs)
    boxes = decode(document.spec, maps)
    scores = boxes.objectness * boxes.classes[..., list(classes)].amax(dim=-1)
    heads = document.spec.heads
    found, start = [], 0
    for head, own in zip(heads, maps, strict=True):
        end = start + len(head.anchors) * own.shape[2] * own.shape[3]
        found.append(scores[:, start:end].reshape(-1, len(head.anchors)).amax(dim=0))
        start = end
    return found
