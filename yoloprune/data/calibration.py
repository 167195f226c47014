"""Images without labels: what pruning scores and recovers on, and what it is proven on."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

from yoloprune.counting import counted
from yoloprune.data.dead import TRIED, why_dead
from yoloprune.data.images import read_image
from yoloprune.data.inputs import image_input, surface
from yoloprune.data.preprocess import ImageInput, NetworkInput
from yoloprune.data.read import dataset_images
from yoloprune.detection.decoders.table import recognized
from yoloprune.detection.placement import Placement
from yoloprune.engines.table import run_in
from yoloprune.errors import CfgError, DatasetError, UsageError
from yoloprune.files import file_sha256
from yoloprune.frontends.darknet.document import DarknetDocument
from yoloprune.graph.model import Model
from yoloprune.pruning.verification import at_once, random_images
from yoloprune.reporter import SILENT, Reporter

Sample: TypeAlias = tuple[Path, Placement, tuple[int, ...]]
"""An image's file, where it lies in the network's input, and its height and width."""

CPU = torch.device("cpu")

UNSEEN = 8
"""Further images that the heads are compared on, if there are so many."""

REAL_IMAGES = 3
"""Real images beside the noise of a proof; each costs a few float64 passes of the network."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Calibration:
    """Network inputs: those to recover with, and those to measure on.

    `images`, `unseen` (B, C, H, W) float32; `samples` are the files behind `images`, and where in
    the inputs they lie; `skipped` files could not be read. `reads` is how they became inputs, None
    where they were given as such.
    """

    reads: ImageInput | None
    images: Tensor
    unseen: Tensor
    samples: tuple[Sample, ...]
    skipped: int

    @property
    def learned_from(self) -> dict[str, str]:
        """SHA-256 of each file behind `images`, by path: nothing should be measured on these."""
        return {path.as_posix(): file_sha256(path) for path, _, _ in self.samples}

    def on(self, device: torch.device) -> "Calibration":
        """The same images on a device, where all that is measured on them is computed."""
        return replace(self, images=self.images.to(device), unseen=self.unseen.to(device))


def given_calibration(inputs: Tensor) -> Calibration:
    """Network inputs (B, ...) that are there already, the last of which are measured on.

    Those are an eighth of them, and as many at most as of images.
    """
    unseen = min(UNSEEN, len(inputs) // 8)
    images = inputs.detach().float()
    return Calibration(
        reads=None,
        images=images[: len(images) - unseen],
        unseen=images[len(images) - unseen :],
        samples=(),
        skipped=0,
    )


def read_calibration(
    network: Model,
    source: Path,
    count: int,
    seed: int,
    reporter: Reporter = SILENT,
    preprocess: str | None = None,
) -> Calibration:
    """A seeded choice of the images of a folder, list or .data file; see `choose_calibration`."""
    reads = image_input(network, preprocess)
    return choose_calibration(network, reads, source, dataset_images(source), count, seed, reporter)


def choose_calibration(
    network: Model,
    reads: ImageInput,
    source: Path,
    paths: Sequence[Path],
    count: int,
    seed: int,
    reporter: Reporter = SILENT,
    *,
    unseen: int = UNSEEN,
) -> Calibration:
    """A seeded choice of the images that `source` names; unreadable ones are skipped.

    Up to `unseen` more are to measure on. Warns where they leave the network dead. Raises
    `UsageError` for a count under 1, `DatasetError` if none can be read.
    """
    if count < 1:
        raise UsageError(f"`calibration_images` {count} must be at least 1")
    order = np.random.default_rng(seed).permutation(len(paths)).tolist()
    chosen = [paths[number] for number in order]
    batch, samples, skipped = fitted_images(reads, source, chosen, count + unseen)
    if skipped:
        reporter.warn(f"{counted(skipped, 'image')} could not be read: skipped")
    if not isinstance(network.document, DarknetDocument):
        _warn_if_dead(network, reads, samples, reporter)
    return Calibration(
        reads=reads,
        images=batch[:count],
        unseen=batch[count:],
        samples=tuple(samples[:count]),
        skipped=skipped,
    )


def _warn_if_dead(
    network: Model, reads: ImageInput, samples: Sequence[Sample], reporter: Reporter
) -> None:
    family = recognized(surface(network, reads))
    images = [read_image(path, reads.channels) for path, _, _ in samples[:TRIED]]
    decode = None if family is None else family[1].decode
    reason = why_dead(network, run_in(network, device=CPU), reads, images, decode)
    if reason is not None:
        reporter.warn(reason)


def fitted_images(
    reads: ImageInput, source: Path, paths: Sequence[Path], count: int
) -> tuple[Tensor, list[Sample], int]:
    """The first `count` images that can be read, as network inputs (B, C, H, W) float32.

    With the file behind each, and how many could not be read. Raises `DatasetError` if none can.
    """
    inputs: list[NetworkInput] = []
    samples: list[Sample] = []
    skipped = 0
    for path in paths:
        if len(inputs) == count:
            break
        try:
            image = read_image(path, reads.channels)
        except DatasetError:
            skipped += 1
            continue
        fitted, placement = reads.fit(image)
        inputs.append(fitted)
        samples.append((path, placement, image.shape[:2]))
    if not inputs:
        raise DatasetError(f"{source}: none of its {len(paths)} images can be read")
    return torch.from_numpy(np.stack(inputs)), samples, skipped


def proof_images(
    network: Model,
    source: Path | None,
    device: torch.device = CPU,
    preprocess: str | None = None,
) -> dict[str, Tensor]:
    """Noise and, where a source is given, its first images, by the name of the network's input.

    (B, C, H, W) float64 on a device, the noise first; B is a multiple of what the network reads at
    once. Raises
    `CfgError` for a source where a Darknet network is no detector, and what `image_input` raises.
    """
    noise = {name: image.to(device) for name, image in random_images(network.graph).items()}
    if source is None:
        return noise
    document = network.document
    if isinstance(document, DarknetDocument) and not document.spec.heads:
        raise CfgError(f"{source}: only detectors can be fed with images")
    reads = image_input(network, preprocess)
    inputs, _, _ = fitted_images(reads, source, dataset_images(source), REAL_IMAGES)
    found = {name: torch.cat([image, inputs.to(image)]) for name, image in noise.items()}
    several = at_once(network.graph)
    if several is None:
        return found
    return {name: images[: len(images) // several * several] for name, images in found.items()}
