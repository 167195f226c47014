"""What lies behind a mean average precision: each image, and how far chance may have moved it.

N images, D draws of the bootstrap (B. Efron, "Bootstrap methods: another look at the jackknife",
1979).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from yoloprune.detection.nms import SCORE_THRESHOLD
from yoloprune.evaluation.average_precision import Floats, Matched, Ranking

DRAWS = 400
"""Times that as many images are drawn as there are, with replacement."""

CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Details:
    """Of one evaluation.

    `objects`, `hits`, `false_alarms` (N,) int64: how many there are in each image, of detections
    that score at least `SCORE_THRESHOLD`. `draws` (D,) are the mAP@0.5 of each draw of images.
    Draws of evaluations on equally many images are of the same images: they may be compared one by
    one.
    """

    objects: NDArray[np.int64]
    hits: NDArray[np.int64]
    false_alarms: NDArray[np.int64]
    draws: Floats


def details(
    images: Sequence[Matched], classes: int, ap50: Callable[[Ranking], Floats], *, seed: int = 0
) -> Details:
    """What the matched detections of a data set's images say, one by one and drawn again."""
    shown = [image.scores >= SCORE_THRESHOLD for image in images]
    correct = [image.correct[:, 0] for image in images]
    hits = [int((s & c).sum()) for s, c in zip(shown, correct, strict=True)]
    false_alarms = [int((s & ~c).sum()) for s, c in zip(shown, correct, strict=True)]
    return Details(
        objects=np.array([len(image.objects) for image in images]),
        hits=np.array(hits),
        false_alarms=np.array(false_alarms),
        draws=_draws(images, classes, ap50, seed),
    )


def interval(draws: Floats) -> tuple[float, float]:
    """Between which two values `CONFIDENCE` of the draws are."""
    low, high = np.nanquantile(draws, ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2)).tolist()
    return low, high


def _draws(
    images: Sequence[Matched], classes: int, ap50: Callable[[Ranking], Floats], seed: int
) -> Floats:
    scores = np.concatenate([image.scores for image in images])
    order = np.argsort(-scores, kind="stable")
    owners = np.repeat(np.arange(len(images)), [len(image.scores) for image in images])[order]
    labels = np.concatenate([image.labels for image in images])[order].astype(np.int32)
    packed = np.concatenate(
        [np.packbits(image.correct, axis=1, bitorder="little") for image in images]
    )[order]
    objects = np.array([np.bincount(image.objects, minlength=classes) for image in images])
    generator = np.random.default_rng(seed)
    found = np.full(DRAWS, np.nan)
    for draw in range(DRAWS):
        drawn = generator.integers(0, len(images), len(images))
        times = np.bincount(drawn, minlength=len(images))
        if not (total := times @ objects).any():
            continue
        again = np.repeat(np.arange(len(order)), times[owners])
        ranking = Ranking(labels=labels[again], packed=packed[again], objects=total)
        found[draw] = np.nanmean(ap50(ranking))
    return found
