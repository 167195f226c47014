"""Networks as detectors, in whatever engine."""

from pathlib import Path

import torch

from yoloprune.devices import AUTO
from yoloprune.engines.table import DEFAULT_ENGINE, run_in
from yoloprune.evaluation.detector import Detector, darknet_detector
from yoloprune.frontends.darknet.document import darknet
from yoloprune.graph.model import Model
from yoloprune.workflows.models import opened


def detector(
    model: Model | str | Path, *, engine: str = DEFAULT_ENGINE, device: str | torch.device = AUTO
) -> Detector:
    """What finds boxes with a model, or with the network at this path, in an engine.

    Raises `CfgError` for a network that is no detector of images, `UsageError` for an engine or a
    device that is not known, `MissingDependencyError` for an engine that is not installed.
    """
    model = opened(model)
    return darknet_detector(darknet(model).spec, run_in(model, engine, device=device))
