"""Distillation without labels: a recovered cut trained further towards the dense network."""

import hashlib
import math
import time
from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from yoloprune.counting import counted
from yoloprune.data.augment import Sample, augmented_sample
from yoloprune.data.calibration import warn_of_skipped
from yoloprune.data.images import Image, read_image
from yoloprune.data.inputs import image_input
from yoloprune.data.loader import CACHE_BYTES
from yoloprune.data.preprocess import ImageInput
from yoloprune.data.read import dataset_images
from yoloprune.data.workers import made_in_order
from yoloprune.devices import AUTO, has_bfloat16, torch_device
from yoloprune.errors import DatasetError, UsageError
from yoloprune.execution.module import Network
from yoloprune.execution.stream import chunked
from yoloprune.files import file_sha256
from yoloprune.frontends.darknet.curvature import divergences
from yoloprune.frontends.darknet.document import DarknetDocument
from yoloprune.pruning.recover.matching import Matching
from yoloprune.reporter import SILENT, Reporter
from yoloprune.training.imitation import ImitationConfig, gradients, imitate, steps_of
from yoloprune.workflows.confidence import confident
from yoloprune.workflows.cut import Cut
from yoloprune.workflows.defaults import PRUNING

HELD_OUT, MOST_HELD_OUT = 0.125, 64
"""Share of the images, and the most of them, that runs are judged on."""

AUGMENTED, MOSAIC = 0.5, 0.25
"""Shares of the samples: augmented at all, and mosaics among these."""

SHOWN = PRUNING.calibration_images
"""Images, of those learned from, on which scores are made to mean what the dense network's mean."""

TRIALS = 2
"""Steps that are timed, after one more, to see how many fit into the minutes."""


def distill(
    cut: Cut,
    images: str | Path,
    *,
    minutes: float | None = None,
    steps: int | None = None,
    seed: int = PRUNING.seed,
    preprocess: str | None = None,
    device: str | torch.device = AUTO,
    checkpoint: str | Path | None = None,
    batch_size: int = 8,
    learning_rate: float = 1e-4,
    reporter: Reporter = SILENT,
) -> Cut:
    """Train the slim network of a cut to give what the dense one gives, on images without labels.

    It goes on from what recovery left, for so many `minutes`, or `steps`; `batch_size` and
    `learning_rate` are `ImitationConfig`'s. All readable images of a folder, list or .data file are
    used: an eighth of them to judge by, the others to learn from. What comes closest to the dense
    network on those held out is the outcome: the cut as it was, where nothing comes closer. A run
    that was stopped (`InterruptedRunError`) or killed goes on from its `checkpoint`, a file. Raises
    `UsageError` unless minutes or steps are given and the cut was recovered, `DatasetError` where
    fewer than two images can be read.
    """
    check_length(minutes, steps)
    config = ImitationConfig(
        steps=1 if steps is None else steps,
        batch_size=batch_size,
        learning_rate=learning_rate,
        seed=seed,
    )
    if cut.recovery is None:
        raise UsageError(
            "distillation goes on from a network that was recovered: give it what "
            "`recover(cut, images)` gives"
        )
    place = torch_device(device)
    reads = image_input(cut.dense, preprocess)
    paths = dataset_images(Path(images))
    order = np.random.default_rng(seed).permutation(len(paths)).tolist()
    found = _readable([paths[number] for number in order], reads, reporter)
    count = held_out_of(len(found))
    if len(found) <= count:
        raise DatasetError(
            f"{images}: {counted(len(found), 'image')} can be read: at least two are needed"
        )
    digests = {path.as_posix(): file_sha256(path) for path in found}
    learned, others = _divided(found, count, digests, cut.learned_from, reporter)
    source = _Source(paths=learned, images=found, reads=reads, seed=seed, batch_size=batch_size)
    judged = np.stack([source.plain(path) for path in others])
    held_out = chunked(cut.slim.graph, torch.from_numpy(judged).to(place), batch_size)
    # As images are, whatever the network's own numbers: in float16 small steps would be lost.
    dense = Network(*cut.target, dtype=torch.float32, device=place)
    slim = Network(cut.slim.graph, cut.slim.parameters, dtype=torch.float32, device=place)
    document = cut.dense.document
    known = divergences(document.spec) if isinstance(document, DarknetDocument) else {}
    matching = Matching(dense, slim, held_out, known, bfloat16=has_bfloat16(place))
    kept = None if checkpoint is None else Path(checkpoint)
    if minutes is not None and kept is not None and kept.exists():
        steps = steps_of(kept, slim)
    if steps is None:
        assert minutes is not None
        with reporter.stage("timing a step"):
            steps = _steps(matching, source, place, 60 * minutes)
    config = replace(config, steps=steps)
    reporter.say(
        f"distilling for {counted(steps, 'step')} of {counted(batch_size, 'image')}, out of "
        f"{counted(len(source.paths), 'image')}; judged by {count} others"
    )
    outcome = imitate(
        matching,
        partial(_batches, source, place, steps),
        held_out,
        config,
        checkpoint=kept,
        inputs=" ".join((cut.dense.sha256, cut.slim.sha256, source.digest())),
        reporter=reporter,
    )
    own = cut.slim.parameters
    trained = {name: array.to(own[name]) for name, array in outcome.parameters.items()}
    distilled = replace(cut, slim=replace(cut.slim, parameters=trained))
    shown = torch.from_numpy(np.stack([source.plain(path) for path in learned[:SHOWN]])).to(place)
    confidence: Mapping[str, Any] | None
    parameters, confidence = confident(distilled, reads, shown, torch.cat(held_out))
    slim.load({name: array.to(place) for name, array in parameters.items()})
    left, closest = matching.share_left(slim, held_out), min(share for _, share in outcome.curve)
    if left > 1:
        # Never further than before, whatever scores mean.
        parameters, confidence, left = trained, None, min(1.0, closest)
    entry = asdict(config) | {
        "images": len(learned),
        "held_out": count,
        "curve": [list(point) for point in outcome.curve],
        "left": left,
    }
    recovery = {**cut.recovery, "distillation": entry, "confidence": confidence}
    return replace(
        cut,
        slim=replace(cut.slim, parameters=parameters),
        recovery=recovery,
        learned_from={**cut.learned_from, **digests},
    )


def check_length(minutes: float | None, steps: int | None) -> None:
    """Raise `UsageError` unless a run is given minutes or steps."""
    fits = minutes is None or 0 < minutes < math.inf
    if (minutes is None) == (steps is None) or not fits:
        raise UsageError("give `minutes`, a number above 0, or `steps`")


def held_out_of(images: int) -> int:
    """How many of so many images a run is judged on."""
    return min(MOST_HELD_OUT, max(1, round(HELD_OUT * images)))


def fitted_on(images: int, wanted: int) -> int:
    """How many of so many images a re-fit may see, so that a run has others to be judged on."""
    return max(1, min(wanted, images - held_out_of(images)))


def _divided(
    paths: Iterable[Path],
    count: int,
    digests: Mapping[str, str],
    fitted: Mapping[str, str],
    reporter: Reporter,
) -> tuple[tuple[Path, ...], tuple[Path, ...]]:
    """Images to learn from, and `count` to judge by, which the re-fit has not seen."""
    seen = set(fitted.values())
    # It is closer to the dense network on those: they would say that training makes it worse.
    ordered = sorted(paths, key=lambda path: digests[path.as_posix()] not in seen)
    own, others = tuple(ordered[:-count]), tuple(ordered[-count:])
    if again := sum(digests[path.as_posix()] in seen for path in others):
        reporter.warn(
            f"{again} of {counted(count, 'image')} to judge by were fitted on: give more images, "
            "or fit on fewer (`calibration_images`)"
        )
    return own, others


def _readable(
    paths: Sequence[Path], reads: ImageInput, reporter: Reporter
) -> dict[Path, Image | None]:
    """The images that can be read, in order, as long as memory holds them: then None."""
    found: dict[Path, Image | None] = {}
    held = skipped = 0
    for path in reporter.track(paths, "reading images"):
        try:
            image = read_image(path, reads.channels)
        except DatasetError:
            skipped += 1
            continue
        held += image.nbytes
        found[path] = image if held <= CACHE_BYTES else None
    warn_of_skipped(skipped, reporter)
    return found


def _image(path: Path, images: Mapping[Path, Image | None], reads: ImageInput) -> Image:
    image = images[path]
    return read_image(path, reads.channels) if image is None else image


@dataclass(frozen=True, slots=True, kw_only=True)
class _Source:
    """Images to learn from, and how they become inputs."""

    paths: tuple[Path, ...]
    images: Mapping[Path, Image | None]
    reads: ImageInput
    seed: int
    batch_size: int

    def digest(self) -> str:
        """SHA-256 over the files' names, in order."""
        names = "\n".join(path.as_posix() for path in self.paths)
        return hashlib.sha256(names.encode()).hexdigest()

    def batch(self, step: int) -> NDArray[np.float32]:
        """The inputs of a step: a function of the seed and its number."""
        generator = np.random.default_rng((self.seed, step))
        numbers = generator.integers(0, len(self.paths), self.batch_size).tolist()
        return np.stack([self._input(number, step, n) for n, number in enumerate(numbers)])

    def plain(self, path: Path) -> NDArray[np.float32]:
        """The input of an image as it is."""
        return self.reads.fit(_image(path, self.images, self.reads))[0]

    def _input(self, number: int, step: int, place: int) -> NDArray[np.float32]:
        seed = (self.seed, step, place)
        image = self._sample(number).image
        if np.random.default_rng(seed).random() < AUGMENTED:
            size = self.reads.height, self.reads.width
            image = augmented_sample(
                self._sample, number, len(self.paths), size, MOSAIC, (*seed, 1)
            ).image
        return self.reads.fit(image)[0]

    def _sample(self, number: int) -> Sample:
        return Sample(
            image=_image(self.paths[number], self.images, self.reads),
            boxes=np.zeros((0, 4), np.float32),
            labels=np.zeros(0, np.int64),
        )


def _batches(
    source: _Source, device: torch.device, steps: int, first: int
) -> Generator[Tensor, None, None]:
    """The batches of all steps from the first one on."""
    workers = 0 if device.type == "cpu" else 8

    def make(number: int) -> NDArray[np.float32]:
        return source.batch(first + number)

    for batch in made_in_order(make, steps - first, workers=workers):
        yield torch.from_numpy(batch).to(device)


def _steps(
    matching: Matching,
    source: _Source,
    device: torch.device,
    seconds: float,
) -> int:
    """How many steps these seconds allow, their share of judging included."""
    begun = 0.0
    for number in range(TRIALS + 1):
        if number == 1:
            begun = time.monotonic()
        gradients(matching, torch.from_numpy(source.batch(number)).to(device))
        # A GPU is waited for.
        float(next(p.grad.sum() for p in matching.slim.parameters() if p.grad is not None))
        matching.slim.zero_grad(set_to_none=True)
    return max(1, int(0.9 * seconds * TRIALS / max(1e-9, time.monotonic() - begun)))
