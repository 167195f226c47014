"""Scores by the criteria that look at images."""

from collections.abc import Mapping

import numpy as np
import torch

from yoloprune.counting import counted
from yoloprune.data.calibration import Calibration
from yoloprune.data.read import read_objects
from yoloprune.errors import DatasetError, UsageError
from yoloprune.frontends.darknet.curvature import curvatures
from yoloprune.frontends.darknet.document import DarknetDocument, darknet
from yoloprune.frontends.darknet.spec import NetworkSpec, class_count
from yoloprune.graph.model import Model
from yoloprune.pruning.groups import analyze
from yoloprune.pruning.queue import Scores
from yoloprune.pruning.score.gradients import Loss, input_gradients
from yoloprune.pruning.score.on_images import (
    activation_scores,
    memory_needed,
    reconstruction_scores,
    taylor_scores,
)
from yoloprune.pruning.score.on_weights import MEASURED_CRITERIA
from yoloprune.pruning.score.sensitivity import Weights, sensitivities
from yoloprune.report.table import file_size
from yoloprune.reporter import SILENT, Reporter
from yoloprune.training.assign import Objects
from yoloprune.training.image_loss import image_loss

SENSITIVITY_IMAGES = 32
"""Of the calibration images, as many are run backwards for `reconstruction`."""


def scores_on_images(
    criterion: str,
    model: Model,
    calibration: Calibration | None,
    *,
    loss: Loss | None = None,
    seed: int,
    reporter: Reporter = SILENT,
) -> Scores | None:
    """Scores by a criterion that looks at images, or None for one that does not.

    `taylor` goes by a `loss`, if none is given by that of a Darknet network's heads. Raises
    `UsageError` if there are no images, `DatasetError` if they have no labels where the criterion
    needs them.
    """
    if criterion not in MEASURED_CRITERIA:
        return None
    if calibration is None:
        raise UsageError(f"criterion {criterion} needs images: none were given")
    graph, parameters, images = analyze(model.graph), model.parameters, calibration.images
    if criterion != "taylor":
        memory = file_size(memory_needed(graph, len(images)))
        reporter.say(f"scoring with {counted(len(images), 'image')}: about {memory} of memory")
    match criterion:
        case "taylor":
            if loss is None:
                if not isinstance(model.document, DarknetDocument):
                    raise UsageError(
                        f"{model.document.title}: a Darknet network (.cfg and .weights) is needed "
                        "for criterion taylor, whose heads have a loss, or in Python a `loss`"
                    )
                spec = darknet(model).spec
                loss = image_loss(spec, _objects(spec, calibration))
            with reporter.stage("computing gradients"):
                return taylor_scores(graph, input_gradients(graph, parameters, images, loss))
        case "activation":
            return activation_scores(graph, parameters, images, reporter=reporter)
        case _:
            weights = sensitivities(
                graph,
                parameters,
                images[:SENSITIVITY_IMAGES],
                _curvatures(model),
                seed=seed,
                reporter=reporter,
            )
            return reconstruction_scores(
                graph, parameters, images, weights, seed=seed, reporter=reporter
            )


def _curvatures(model: Model) -> Mapping[str, Weights] | None:
    """What a squared error in an output counts, where the network's heads are known."""
    document = model.document
    return curvatures(document.spec) if isinstance(document, DarknetDocument) else None


def _objects(spec: NetworkSpec, calibration: Calibration) -> list[Objects]:
    """The labeled objects of the calibration images, in pixels of the network's input."""
    classes = class_count(spec)
    found, unlabeled = [], 0
    for path, placement, (height, width) in calibration.samples:
        labeled = read_objects(path, classes)
        unlabeled += labeled is None
        nothing = np.zeros((0, 4), np.float64), np.zeros(0, np.int64)
        relative, labels = nothing if labeled is None else (labeled.boxes, labeled.labels)
        boxes = relative * np.tile((width, height), 2) * np.tile(placement.scale, 2)
        boxes += np.tile(placement.offset, 2)
        found.append(
            Objects(
                image=torch.zeros(len(labels), dtype=torch.int64),
                label=torch.from_numpy(labels),
                boxes=torch.from_numpy(boxes).float(),
            )
        )
    if unlabeled == len(found):
        raise DatasetError(
            f"{calibration.samples[0][0]}: criterion taylor needs labels, and none of the "
            f"{len(found)} images has a label file"
        )
    if not any(len(objects.label) for objects in found):
        raise DatasetError(
            f"{calibration.samples[0][0]}: criterion taylor needs objects, and none of the "
            f"{len(found)} images shows one"
        )
    return found
