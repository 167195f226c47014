"""Networks as detectors, in whatever engine."""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import torch

from yoloprune.data.dead import TRIED
from yoloprune.data.images import read_image
from yoloprune.devices import AUTO
from yoloprune.engines.table import DEFAULT_ENGINE, run_in
from yoloprune.errors import DatasetError, UsageError
from yoloprune.evaluation.decoded import decoded_detector, reading
from yoloprune.evaluation.detector import Detector, darknet_detector
from yoloprune.frontends.darknet.document import DarknetDocument
from yoloprune.frontends.darknet.spec import class_count
from yoloprune.graph.model import Model
from yoloprune.reporter import Reporter
from yoloprune.workflows.models import AnyModel, opened


def detector(
    model: AnyModel,
    *,
    engine: str = DEFAULT_ENGINE,
    device: str | torch.device = AUTO,
    preprocess: str | None = None,
    decoder: str | None = None,
    read_as: Model | None = None,
) -> Detector:
    """What finds boxes with a model, or with the network at this path, in an engine.

    Of an ONNX file, `preprocess` says how images become its input, and `decoder` what makes boxes
    of its outputs, where the file does not show both. What another program has made of a network is
    `read_as` that one, whose inputs and outputs it has. Raises `CfgError` or `GraphError` for a
    network that is no detector of images, `UsageError` for settings that are not known or do not
    fit, `MissingDependencyError` for an engine that is not installed.
    """
    model = opened(model)
    shown = read_as or model
    document = shown.document
    if not isinstance(document, DarknetDocument):
        read = reading(shown, preprocess, decoder)
        return decoded_detector(model, run_in(model, engine, device=device), read)
    _refuse(document, preprocess, decoder)
    return darknet_detector(document.spec, run_in(model, engine, device=device))


def class_count_of(
    model: Model, *, preprocess: str | None = None, decoder: str | None = None
) -> int:
    """How many classes the detector of these settings tells apart; raises as `detector` does."""
    if not isinstance(model.document, DarknetDocument):
        return reading(model, preprocess, decoder).classes
    _refuse(model.document, preprocess, decoder)
    return class_count(model.document.spec)


def _refuse(document: DarknetDocument, preprocess: str | None, decoder: str | None) -> None:
    if (preprocess, decoder) != (None, None):
        raise UsageError(
            f"{document.title}: `preprocess` and `decoder` are for ONNX files: a cfg says both"
        )


def tell_if_dead(found: Detector, paths: Sequence[Path], reporter: Reporter) -> None:
    """Warn where images, of which a few are tried, leave a network dead as it reads them.

    Those that cannot be read are left to who needs them.
    """
    images = []
    for path in paths[:: max(1, len(paths) // TRIED)][:TRIED]:
        with suppress(DatasetError):
            images.append(read_image(path, found.reads.channels))
    reason = found.why_dead(images) if images else None
    if reason is not None:
        reporter.warn(reason)
