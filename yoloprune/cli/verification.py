"""The images that `prune` and `verify` run their proofs on."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path

import numpy as np
import torch

from yoloprune.darknet.spec import NetworkSpec
from yoloprune.datasets.images import Image, darknet_resize, list_images, read_image
from yoloprune.datasets.labels import read_dataset
from yoloprune.errors import DatasetError
from yoloprune.pruning.verification import random_images

REAL_IMAGES = 3
"""Real images beside the noise; each costs a few float64 passes of the dense network."""


def verification_images(spec: NetworkSpec, source: Path | None) -> torch.Tensor:
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
        paths = list_images(source)
    _, height, width = spec.input_shape
    inputs = [
        darknet_resize(spec)(image, height, width)[0]
        for image in islice(_readable(source, paths), REAL_IMAGES)
    ]
    return torch.cat([noise, torch.from_numpy(np.stack(inputs)).double()])


def _readable(source: Path, paths: Sequence[Path]) -> Iterator[Image]:
    """The images that can be read; raises `DatasetError` if there is none."""
    none_yet = True
    for path in paths:
        with suppress(DatasetError):
            image = read_image(path)
            none_yet = False
            yield image
    if none_yet:
        raise DatasetError(f"{source}: none of its {len(paths)} images can be read")
