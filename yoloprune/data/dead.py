"""Whether a network sees anything: images in other numbers than it wants leave it dead."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from yoloprune.counting import counted
from yoloprune.data.images import Image
from yoloprune.data.preprocess import PRESETS, ImageInput
from yoloprune.detection.decode import Predictions
from yoloprune.detection.decoders.decoder import Decode
from yoloprune.engines.batches import outputs_of
from yoloprune.engines.engine import Runner
from yoloprune.graph.model import Model

TRIED = 4
"""Images that a network is tried on."""

FAINT = 0.05
"""Scores up to which something must be wrong, if no box of any image has another."""

SURE, CROWDED = 0.5, 0.2
"""Scores above the first at more boxes than this share of them cannot be right either."""

_STILL = 1e-5
"""Largest change of an output, as a fraction of its largest number, that is none."""


def why_dead(
    network: Model,
    run: Runner,
    reads: ImageInput,
    images: Sequence[Image],
    decode: Decode | None = None,
) -> str | None:
    """What says that images do not reach a network, and what may help; None where nothing does.

    It runs in an engine on all of the images, RGB or gray, of which there is at least one. Its
    outputs must be finite, and not the same for all images; where they are decoded, some boxes must
    have scores, and most must have none. Otherwise the presets are tried.
    """

    def outputs(read: ImageInput) -> dict[str, Tensor]:
        # One at a time: there may be no memory for more.
        inputs = (torch.from_numpy(read.fit(image)[0])[None] for image in images)
        found = [outputs_of(run, network.graph, image) for image in inputs]
        return {name: torch.cat([each[name] for each in found]) for name in run.outputs}

    def fault(read: ImageInput) -> str | None:
        found = outputs(read)
        if not all(value.isfinite().all() for value in found.values()):
            return "gives numbers that are not finite"
        if decode is not None and (odd := _odd(decode(found))) is not None:
            return odd
        return None if _moved(found) else "gives the same for every image"

    reason = fault(reads)
    if reason is None:
        return None
    message = f"given {reads}, the network {reason} (of {counted(len(images), 'image')})"
    layout = reads.preprocess.layout
    lively = [
        name
        for name, preset in PRESETS.items()
        if fault(replace(reads, preprocess=replace(preset, layout=layout))) is None
    ]
    if not lively:
        return f"{message}: say by `preprocess` what it wants"
    return f"{message}, but not with `preprocess` {' or '.join(lively)}"


def _moved(outputs: dict[str, Tensor]) -> bool:
    """Whether any output differs from image to image; of one image nothing can be said."""
    values = [value.flatten(1) for value in outputs.values() if value.numel()]
    return len(values[0]) == 1 or any(
        (value.amax(dim=0) - value.amin(dim=0)).amax() > _STILL * value.abs().amax()
        for value in values
    )


def _odd(found: Predictions) -> str | None:
    scores = (found.objectness[..., None] * found.classes).amax(dim=-1)  # (B, N)
    if scores.max() <= FAINT:
        return f"is sure of nothing: no score is above {scores.max():.2g}"
    share = (scores > SURE).float().mean().item()
    if share > CROWDED:
        return f"is sure of too much: {share:.0%} of its boxes have scores above {SURE:g}"
    return None
