"""Images for a report: where two networks agree, where they do not, and what was lost."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from yoloprune.counting import counted
from yoloprune.data.dataset import LabeledImage
from yoloprune.data.images import read_image
from yoloprune.detection.nms import IOU_THRESHOLD, SCORE_THRESHOLD
from yoloprune.evaluation.details import Details
from yoloprune.evaluation.detector import Detector, detect_objects
from yoloprune.evaluation.evaluator import ground_truth
from yoloprune.report.study import Example

WORST = 10
"""Images that show what was lost."""

EVENLY = 6
"""Images that are shown where nobody knows what is in them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """What `Study` calls `pair`, `examples` and `chosen`."""

    pair: tuple[Example, ...] = ()
    examples: tuple[Example, ...] = ()
    chosen: str = ""


def example(picture: Path | LabeledImage, dense: Detector, slim: Detector) -> Example:
    """What two networks detect in an image, as `detect` shows it."""
    path = picture if isinstance(picture, Path) else picture.path
    image = read_image(path)
    found = [
        detect_objects(
            each,
            read_image(path, each.reads.channels),
            threshold=SCORE_THRESHOLD,
            iou_threshold=IOU_THRESHOLD,
        )
        for each in (dense, slim)
    ]
    truth = None if isinstance(picture, Path) else ground_truth(picture, image.shape[:2])
    return Example(image=image, truth=truth, dense=found[0], slim=found[1], name=path.name)


def spread(pictures: Sequence[Path], see: Callable[[Path], Example]) -> Chosen:
    """A few of many images."""
    count = min(EVENLY, len(pictures))
    chosen = np.linspace(0, len(pictures) - 1, count).round().astype(int).tolist()
    return Chosen(
        examples=tuple(see(pictures[number]) for number in chosen),
        chosen=f"{counted(count, 'image')}, evenly spread over all {len(pictures)}.",
    )


def compared(
    images: Sequence[LabeledImage],
    dense: Details,
    slim: Details,
    see: Callable[[LabeledImage], Example],
) -> Chosen:
    """Labeled images by what the slim network loses, or does not, against the dense one.

    A loss is an object that the dense network alone finds, or a false alarm of the slim network's
    that the dense one does not raise, by number.
    """
    loss = (dense.hits - slim.hits) + (slim.false_alarms - dense.false_alarms)
    worst = [int(i) for i in np.argsort(-loss, kind="stable") if loss[i] > 0]
    same = (dense.hits == slim.hits) & (dense.false_alarms == slim.false_alarms)
    # Best of all are those where both find everything and nothing else.
    flawless = (dense.hits == dense.objects) & (dense.false_alarms == 0)
    rank = np.where(same & (dense.objects > 0), dense.objects + 1000 * flawless, -1)
    pair = [int(rank.argmax())] if rank.size and rank.max() >= 0 else []
    pair += worst[:1]
    better = int((loss < 0).sum())
    sentence = (
        f"In {len(worst)} of {counted(len(images), 'image')} the slim network finds fewer "
        "objects than the original or raises more false alarms; in "
        f"{better} it is the other way round."
    )
    if worst:
        shown = "All of the former" if len(worst) <= WORST else f"The worst {WORST}"
        sentence += f" {shown}, by objects lost plus false alarms gained:"
    return Chosen(
        pair=tuple(see(images[number]) for number in pair),
        examples=tuple(see(images[number]) for number in worst[:WORST]),
        chosen=sentence,
    )
