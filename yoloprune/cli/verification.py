"""The images that `prune` and `verify` run their proofs on."""

from pathlib import Path

import torch

from yoloprune.cli.calibration import fitted_images
from yoloprune.darknet.spec import NetworkSpec
from yoloprune.data.read import dataset_images
from yoloprune.errors import DatasetError
from yoloprune.pruning.verification import random_images

REAL_IMAGES = 3
"""Real images beside the noise; each costs a few float64 passes of the dense network."""


def verification_images(spec: NetworkSpec, source: Path | None) -> torch.Tensor:
    """Noise and, where a source is given, its first images: (B, C, H, W) float64."""
    noise = random_images(spec)
    if source is None:
        return noise
    if not spec.heads:
        raise DatasetError(f"{source}: only detectors can be fed with images")
    inputs, _, _ = fitted_images(spec, source, dataset_images(source), REAL_IMAGES)
    return torch.cat([noise, inputs.double()])
