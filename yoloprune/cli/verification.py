"""What `prune` and `verify` share: images to verify on, and the cross-check's printout."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from yoloprune.cli.console import output, stage
from yoloprune.darknet.spec import NetworkSpec
from yoloprune.datasets.images import darknet_resize, list_images, read_image
from yoloprune.datasets.labels import read_dataset
from yoloprune.errors import DatasetError
from yoloprune.pruning.groups import analyse
from yoloprune.pruning.tracing import cross_check
from yoloprune.pruning.verification import random_images

if TYPE_CHECKING:
    from torch import Tensor

REAL_IMAGES = 3
"""Real images beside the noise; each costs a few float64 passes of the dense network."""


def verification_images(spec: NetworkSpec, source: Path | None) -> "Tensor":
    """Noise and, where a source is given, its first images: (B, C, H, W) float64."""

    noise = random_images(spec)
    if source is None:
        return noise
    if spec.input_shape[0] != 3 or not spec.heads:
        raise DatasetError(f"{source}: only detectors that read 3 channels can be fed with images")
    if source.suffix == ".data":
        dataset = read_dataset(source, classes=spec.heads[0].classes, limit=REAL_IMAGES)
        paths = tuple(image.path for image in dataset.images)
    else:
        paths = list_images(source)[:REAL_IMAGES]
    _, height, width = spec.input_shape
    inputs = [darknet_resize(spec)(read_image(path), height, width)[0] for path in paths]
    return torch.cat([noise, torch.from_numpy(np.stack(inputs)).double()])


def print_cross_check(spec: NetworkSpec, quiet: bool) -> None:
    """Compare groups with Torch-Pruning's and print every difference."""
    with stage("tracing with Torch-Pruning", quiet):
        check = cross_check(analyse(spec))
    output.print(f"cross-check: {len(check.agreed)} groups agree with Torch-Pruning's trace")
    for name, groups in (("only ours", check.only_ours), ("only traced", check.only_traced)):
        for producers, consumers, channels in groups:
            output.print(
                f"  {name}: {channels} channels, producers {list(producers)}, "
                f"consumers {list(consumers)}",
            )
