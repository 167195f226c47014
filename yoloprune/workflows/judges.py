"""By what slim networks are told from one another, before any training."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from yoloprune.data.calibration import Calibration, choose_calibration, fitted_images
from yoloprune.data.dataset import Dataset
from yoloprune.data.inputs import image_input, surface
from yoloprune.data.preprocess import ImageInput
from yoloprune.data.read import dataset_images, read_dataset
from yoloprune.data.split import hold_out
from yoloprune.detection.decoders.table import recognized
from yoloprune.errors import DatasetError, UsageError
from yoloprune.evaluation.evaluator import Evaluation, evaluate
from yoloprune.frontends.darknet.document import DarknetDocument
from yoloprune.graph.model import Model
from yoloprune.pruning.recover.errors import output_errors
from yoloprune.reporter import Reporter
from yoloprune.workflows.defaults import SWEEP
from yoloprune.workflows.detectors import detector, tell_if_dead
from yoloprune.workflows.training_data import tell_remarks

ACCURACY, ERROR = "mAP@0.5 (coco)", "error at the outputs"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Request:
    """What images networks are judged on, and how they are run and their outputs read."""

    data: Path
    split: str | None
    limit: int | None
    seed: int
    allow_faulty: bool
    device: torch.device
    preprocess: str | None
    decoder: str | None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Judge:
    """A measure of networks.

    Attributes:
        measure: what it is called.
        judge: a network to its figure.
        images: how many it is judged on.
        paths: their files.
        split: of which split.
        others: images to learn from, which are not among them.
        reads: how images are shown to the network.
        decoder: what makes boxes of its outputs, if anything does.
        evaluate: what the figure is from, where it is mAP.
    """

    measure: str
    judge: Callable[[Model], float]
    images: int
    paths: tuple[Path, ...]
    split: str
    others: Callable[[], tuple[Path, ...]]
    reads: ImageInput
    decoder: str | None
    evaluate: Callable[[Model], Evaluation] | None = None

    def calibration(
        self, network: Model, source: Path, count: int, seed: int, reporter: Reporter
    ) -> Calibration:
        """Images of a source to learn from, without those that networks are judged on."""
        paths = self.others()
        if not paths:
            raise DatasetError(
                f"{source}: no training image is left to score on: choose another split"
            )
        return choose_calibration(network, self.reads, source, paths, count, seed, reporter)


def judge_of(network: Model, request: Request, reporter: Reporter) -> Judge:
    """By mAP where boxes can be made of a network's outputs, else by how far these have gone.

    Raises what `detector` and `read_dataset` raise.
    """
    if request.decoder is None and not isinstance(network.document, DarknetDocument):
        reads = image_input(network, request.preprocess)
        if recognized(surface(network, reads)) is None:
            judge = _by_error(network, reads, request)
            reporter.warn(
                f"{network.document.title}: no decoder is known for its outputs: judged by how far "
                "these are from the dense network's, less is better (labels are not looked at)"
            )
            return judge
    return _by_accuracy(network, request, reporter)


def _by_accuracy(network: Model, request: Request, reporter: Reporter) -> Judge:
    made = partial(
        detector,
        device=request.device,
        preprocess=request.preprocess,
        decoder=request.decoder,
    )
    dense = made(network)
    read = partial(
        read_dataset, request.data, classes=dense.classes, allow_faulty=request.allow_faulty
    )
    dataset = _judged(read, request)
    tell_remarks(request.data, dataset, reporter)
    tell_if_dead(dense, [image.path for image in dataset.images], reporter)

    def others() -> tuple[Path, ...]:
        judged = {image.path for image in dataset.images}
        paths = (image.path for image in read(split="train").images)
        return tuple(path for path in paths if path not in judged)

    def evaluated(candidate: Model) -> Evaluation:
        return evaluate(made(candidate, read_as=network), dataset, "coco")

    return Judge(
        measure=ACCURACY,
        judge=lambda candidate: evaluated(candidate).map50,
        images=len(dataset.images),
        paths=tuple(image.path for image in dataset.images),
        split=request.split or "validation",
        others=others,
        reads=dense.reads,
        decoder=dense.decoder,
        evaluate=evaluated,
    )


def _judged(read: Callable[..., Dataset], request: Request) -> Dataset:
    """The split, or those training images by which a budget can be chosen without the test set."""
    if request.split is not None:
        return read(split=request.split, limit=request.limit)
    held_out = hold_out(read(split="train"), SWEEP.hold_out)[1]
    return replace(held_out, images=held_out.images[: request.limit])


def _by_error(network: Model, reads: ImageInput, request: Request) -> Judge:
    if request.split is not None:
        raise UsageError(
            f"{network.document.title}: `split` goes with labels, which cannot be looked at here"
        )
    paths = dataset_images(request.data)
    order = np.random.default_rng(request.seed).permutation(len(paths)).tolist()
    shuffled = [paths[number] for number in order]
    count = -int(-len(paths) * SWEEP.hold_out // 1)
    judged, rest = shuffled[:count], tuple(shuffled[count:])
    images, samples, _ = fitted_images(reads, request.data, judged, request.limit or count)
    return Judge(
        measure=ERROR,
        judge=partial(error_of, network, images.to(request.device)),
        images=len(samples),
        paths=tuple(path for path, _, _ in samples),
        split="unlabeled",
        others=lambda: rest,
        reads=reads,
        decoder=None,
    )


def judge_by_error(network: Model, calibration: Calibration) -> Judge:
    """By how far outputs have gone, on images that nothing is learned from where there are any."""
    assert calibration.reads is not None, "made of images"
    unseen, images = len(calibration.unseen) > 0, calibration.measured
    return Judge(
        measure=ERROR,
        judge=partial(error_of, network, images),
        images=len(images),
        paths=(),
        split="unseen" if unseen else "unlabeled",
        others=lambda: (),
        reads=calibration.reads,
        decoder=None,
    )


def error_of(dense: Model, images: Tensor, candidate: Model) -> float:
    """How far the outputs of a network are from the dense one's: the mean of `output_errors`."""
    (errors,) = output_errors(
        (dense.graph, dense.parameters), candidate.graph, [candidate.parameters], images
    )
    return float(np.mean(errors))
