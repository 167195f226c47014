"""Images without labels: what pruning scores and recovers on, and what it is proven on."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

from yoloprune.data.images import NetworkInput, darknet_resize, image_channels, read_image
from yoloprune.data.read import dataset_images
from yoloprune.detection.placement import Placement
from yoloprune.errors import CfgError, DatasetError
from yoloprune.frontends.darknet.document import darknet
from yoloprune.frontends.darknet.spec import NetworkSpec
from yoloprune.graph.model import Model
from yoloprune.pruning.verification import random_images
from yoloprune.reporter import SILENT, Reporter

Sample: TypeAlias = tuple[Path, Placement, tuple[int, ...]]
"""An image's file, where it lies in the network's input, and its height and width."""

UNSEEN = 8
"""Further images that the heads are compared on, if there are so many."""

REAL_IMAGES = 3
"""Real images beside the noise of a proof; each costs a few float64 passes of the network."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Calibration:
    """Network inputs: those to recover with, and those to measure on.

    `images`, `unseen` (B, C, H, W) float32; `samples` are the files behind `images`, and where in
    the inputs they lie; `skipped` files could not be read.
    """

    images: Tensor
    unseen: Tensor
    samples: tuple[Sample, ...]
    skipped: int


def read_calibration(
    spec: NetworkSpec, source: Path, count: int, seed: int, reporter: Reporter = SILENT
) -> Calibration:
    """A seeded choice of the images of a folder, list or .data file; see `choose_calibration`."""
    return choose_calibration(spec, source, dataset_images(source), count, seed, reporter)


def choose_calibration(
    spec: NetworkSpec,
    source: Path,
    paths: Sequence[Path],
    count: int,
    seed: int,
    reporter: Reporter = SILENT,
) -> Calibration:
    """A seeded choice of the images that `source` names; unreadable ones are skipped.

    Raises `DatasetError` if none can be read, `CfgError` if the network reads neither RGB nor grey.
    """
    order = np.random.default_rng(seed).permutation(len(paths)).tolist()
    chosen = [paths[number] for number in order]
    batch, samples, skipped = fitted_images(spec, source, chosen, count + UNSEEN)
    if skipped:
        reporter.warn(f"{skipped} images could not be read and were skipped")
    return Calibration(
        images=batch[:count], unseen=batch[count:], samples=tuple(samples[:count]), skipped=skipped
    )


def fitted_images(
    spec: NetworkSpec, source: Path, paths: Sequence[Path], count: int
) -> tuple[Tensor, list[Sample], int]:
    """The first `count` images that can be read, as network inputs (B, C, H, W) float32.

    With the file behind each, and how many could not be read. Raises `DatasetError` if none can,
    `CfgError` if the network reads neither RGB nor grey.
    """
    fit, channels = darknet_resize(spec), image_channels(spec)
    _, height, width = spec.input_shape
    inputs: list[NetworkInput] = []
    samples: list[Sample] = []
    skipped = 0
    for path in paths:
        if len(inputs) == count:
            break
        try:
            image = read_image(path, channels)
        except DatasetError:
            skipped += 1
            continue
        fitted, placement = fit(image, height, width)
        inputs.append(fitted)
        samples.append((path, placement, image.shape[:2]))
    if not inputs:
        raise DatasetError(f"{source}: none of its {len(paths)} images can be read")
    return torch.from_numpy(np.stack(inputs)), samples, skipped


def proof_images(network: Model, source: Path | None) -> dict[str, Tensor]:
    """Noise and, where a source is given, its first images, by the name of the network's input.

    (B, C, H, W) float64, the noise first. Raises `CfgError` for a source where the network is
    no detector.
    """
    noise = random_images(network.graph)
    if source is None:
        return noise
    spec = darknet(network).spec
    if not spec.heads:
        raise CfgError(f"{source}: only detectors can be fed with images")
    inputs, _, _ = fitted_images(spec, source, dataset_images(source), REAL_IMAGES)
    return {name: torch.cat([image, inputs.double()]) for name, image in noise.items()}
