"""The images that recovery learns from, and what it says about itself."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, TypeAlias

import numpy as np
import torch
import typer
from torch import Tensor

from yoloprune.darknet.spec import NetworkSpec
from yoloprune.darknet.state import ConvParameters, State
from yoloprune.data.images import (
    NetworkInput,
    darknet_resize,
    image_channels,
    read_image,
)
from yoloprune.data.read import dataset_images
from yoloprune.detection.placement import Placement
from yoloprune.errors import DatasetError
from yoloprune.pruning.fitting import RIDGE
from yoloprune.pruning.plan import PruningPlan
from yoloprune.pruning.reconstruction import (
    SCARCE_RIDGE,
    Recovered,
    Recovery,
    memory_needed,
    recover,
)
from yoloprune.pruning.recovery import head_errors
from yoloprune.report.table import file_size
from yoloprune.reporter import SILENT, Reporter

CalibrationImages = Annotated[
    int | None,
    typer.Option(
        "--calibration-images", min=1, help="How many images to learn from.", show_default="64"
    ),
]

Sample: TypeAlias = tuple[Path, Placement, tuple[int, ...]]
"""An image's file, where it lies in the network's input, and its height and width."""

UNSEEN = 8
"""Further images that the heads are compared on, if there are so many."""


def images_to_use(asked: int | None, reporter: Reporter, *, used: bool) -> int:
    """How many images to learn from; warns where a number is given and no image is looked at."""
    if asked is not None and not used:
        reporter.warn("--calibration-images changes nothing: no image is looked at here")
    return asked or 64


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


def run_recovery(
    spec: NetworkSpec,
    state: State,
    plan: PruningPlan,
    slim_spec: NetworkSpec,
    slim_state: State,
    calibration: Calibration,
    *,
    recovery: Recovery,
    seed: int,
    reporter: Reporter,
) -> tuple[dict[int, ConvParameters], dict[str, Any]]:
    """The recovered parameters, and what report.json says about them; warns of too few images."""
    images = calibration.images
    memory = memory_needed(spec, slim_spec, len(images))
    reporter.say(f"recovering with {len(images)} images: about {file_size(memory)} of memory")
    recovered = recover(
        spec,
        state,
        plan,
        slim_spec,
        slim_state,
        images,
        recovery=recovery,
        seed=seed,
        reporter=reporter,
    )
    _warn_of_scarcity(recovered, len(images), reporter)
    unseen = len(calibration.unseen) > 0
    measured_on = calibration.unseen if unseen else images
    before, after = head_errors(spec, state, slim_spec, [slim_state, recovered.state], measured_on)
    document = {
        "method": recovery.value,
        "images": len(images),
        "files": [path.as_posix() for path, _, _ in calibration.samples],
        "skipped": calibration.skipped,
        "memory_bytes": memory,
        "seed": seed,
        "ridge": RIDGE,
        "heads": {
            "images": len(measured_on),
            "unseen": unseen,
            "before": before,
            "after": after,
        },
        "layers": {str(index): asdict(fit) for index, fit in recovered.fits.items()},
    }
    return recovered.state, document


def _warn_of_scarcity(recovered: Recovered, images: int, reporter: Reporter) -> None:
    scarce = {index: fit for index, fit in recovered.fits.items() if fit.scarce}
    if scarce:
        needed = max(fit.images_needed for fit in scarce.values())
        first = ", ".join(map(str, list(scarce)[:3]))
        reporter.warn(
            f"{images} images are too few to determine the kernels of {len(scarce)} "
            f"layers ({first}{', ...' if len(scarce) > 3 else ''}): "
            f"{needed} are needed; their ridge was raised {SCARCE_RIDGE:g} times"
        )
