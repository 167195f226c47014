"""Masks of a small network."""

import torch

from tests.random_networks import random_state
from yoloprune.frontends.darknet.lower import lower, parameters
from yoloprune.frontends.darknet.zoo import yolov3_tiny
from yoloprune.pruning.weights.masks import (
    MaskSettings,
    WeightMasks,
    magnitude_masks,
)

SPEC = yolov3_tiny(classes=1, width=0.125, size=(64, 64))


GRAPH = lower(SPEC)


ARRAYS = parameters(random_state(SPEC, 1, torch.float32))


FIRST = "layer_0.kernel"


def masks(sparsity: float, **settings: object) -> WeightMasks:
    return magnitude_masks(GRAPH, ARRAYS, MaskSettings(sparsity=sparsity, **settings))  # type: ignore[arg-type]
