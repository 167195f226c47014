"""Images without labels: what pruning scores and recovers on, and what it is proven on."""

from collections.abc import Iterator, Sequence
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

HELD_BYTES = 1 << 30
"""Of inputs that are held; of more images the others are read again when they are needed."""

MEASURED = 64
"""Images that are measured on at most, where none are unseen."""

REAL_IMAGES = 3
"""Real images beside the noise of a proof; each costs a few float64 passes of the network."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ImageFiles:
    """Network inputs of so many images that only the first are held; `paths` are those of all."""

    reads: ImageInput
    held: Tensor
    paths: tuple[Path, ...]

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, part: slice, /) -> Tensor:  # -> (B, C, H, W)
        found = self.held[part]
        others = range(len(self))[part][len(found) :]
        if not others:
            return found
        inputs = [self.reads.fit(read_image(self.paths[n], self.reads.channels))[0] for n in others]
        return torch.cat([found, torch.from_numpy(np.stack(inputs)).to(found)])

    def to(self, device: torch.device) -> "ImageFiles":
        """The same, giving tensors on a device."""
        return replace(self, held=self.held.to(device))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Calibration:
    """Network inputs: those to recover with, and those to measure on.

    `images`, `unseen` (B, C, H, W) float32; `samples` are the files behind `images`, and where in
    the inputs they lie; `skipped` files could not be read. `reads` is how they became inputs, None
    where they were given as such.
    """

    reads: ImageInput | None
    images: Tensor | ImageFiles
    unseen: Tensor
    samples: tuple[Sample, ...]
    skipped: int

    @property
    def learned_from(self) -> dict[str, str]:
        """SHA-256 of each file behind `images`, by path: nothing should be measured on these."""
        return {path.as_posix(): file_sha256(path) for path, _, _ in self.samples}

    @property
    def measured(self) -> Tensor:
        """What to measure on: images that nothing was learned from, where there are any."""
        return self.unseen if len(self.unseen) else self.images[:MEASURED]

    def on(self, device: torch.device) -> "Calibration":
        """The same images on a device, where all that is measured on them is computed."""
        return replace(self, images=self.images.to(device), unseen=self.unseen.to(device))


def given_calibration(inputs: Tensor) -> Calibration:
    """Network inputs (B, ...) that are there already, the last of which are measured on.

    Those are an eighth of them, and as many at most as of images. Raises `UsageError` for none.
    """
    if not inputs.numel():
        raise UsageError(f"network inputs of shape {tuple(inputs.shape)} are none to learn from")
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
    held, others, samples = list[NetworkInput](), list[NetworkInput](), list[Sample]()
    skipped = 0
    for found in _readable(reads, chosen):
        if found is None:
            skipped += 1
            continue
        if len(samples) >= count:
            others.append(found[0])
        elif found[0].nbytes * len(samples) < HELD_BYTES:
            held.append(found[0])
        samples.append(found[1])
        if len(samples) == count + unseen:
            break
    if not samples:
        raise _none_readable(source, paths)
    warn_of_skipped(skipped, reporter)
    if not isinstance(network.document, DarknetDocument):
        _warn_if_dead(network, reads, samples, reporter)
    first = torch.from_numpy(np.stack(held))
    files = tuple(path for path, _, _ in samples[:count])
    return Calibration(
        reads=reads,
        images=first
        if len(first) == len(files)
        else ImageFiles(reads=reads, held=first, paths=files),
        unseen=torch.from_numpy(np.stack(others)) if others else first[:0],
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
    for found in _readable(reads, paths):
        if found is None:
            skipped += 1
            continue
        inputs.append(found[0])
        samples.append(found[1])
        if len(inputs) == count:
            break
    if not inputs:
        raise _none_readable(source, paths)
    return torch.from_numpy(np.stack(inputs)), samples, skipped


def warn_of_skipped(skipped: int, reporter: Reporter) -> None:
    """Say how many images could not be read, if any."""
    if skipped:
        reporter.warn(f"{counted(skipped, 'image')} could not be read: skipped")


def _readable(
    reads: ImageInput, paths: Sequence[Path]
) -> Iterator[tuple[NetworkInput, Sample] | None]:
    """The input of each image, its file and where it lies; None for what cannot be read."""
    for path in paths:
        try:
            image = read_image(path, reads.channels)
        except DatasetError:
            yield None
            continue
        fitted, placement = reads.fit(image)
        yield fitted, (path, placement, image.shape[:2])


def _none_readable(source: Path, paths: Sequence[Path]) -> DatasetError:
    return DatasetError(f"{source}: none of its {len(paths)} images can be read")


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
