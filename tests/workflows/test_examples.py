"""Which images a report shows."""

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.report import studies
from yoloprune.data.dataset import LabeledImage
from yoloprune.evaluation.details import Details
from yoloprune.report.study import Example
from yoloprune.workflows.examples import EVENLY, WORST, compared, spread


def details(objects: list[int], hits: list[int], false_alarms: list[int]) -> Details:
    return Details(
        objects=np.array(objects),
        hits=np.array(hits),
        false_alarms=np.array(false_alarms),
        draws=np.zeros(1),
    )


def images(count: int) -> list[LabeledImage]:
    nothing = np.zeros((0, 4), np.float32)
    return [
        LabeledImage(path=Path(f"{n}.jpg"), boxes=nothing, labels=np.zeros(0, np.int64))
        for n in range(count)
    ]


def seen(picture: Path | LabeledImage) -> Example:
    path = picture if isinstance(picture, Path) else picture.path
    nothing = studies.detections(torch.zeros(0, 4))
    return Example(
        image=np.zeros((1, 1, 3), np.uint8), truth=None, dense=nothing, slim=nothing, name=path.name
    )


def test_the_pair_is_one_found_alike_and_the_one_that_lost_most() -> None:
    objects = [0, 2, 3, 4, 2, 1]
    dense = details(objects, [0, 2, 3, 3, 2, 0], [0, 0, 0, 0, 0, 0])
    slim = details(objects, [0, 2, 3, 3, 0, 1], [0, 1, 0, 0, 1, 0])
    found = compared(images(6), dense, slim, seen)
    # Image 3 has more objects, but both miss one of them.
    assert [example.name for example in found.pair] == ["2.jpg", "4.jpg"]
    assert [example.name for example in found.examples] == ["4.jpg", "1.jpg"]
    assert found.chosen.startswith("In 2 of 6 images the slim network finds fewer")
    assert "in 1 it is the other way round. All of the former" in found.chosen


@pytest.mark.parametrize("lost", [0, WORST + 3])
def test_no_more_are_shown_than_the_worst(lost: int) -> None:
    count = WORST + 5
    dense = details([1] * count, [1] * count, [0] * count)
    slim = details([1] * count, [0] * lost + [1] * (count - lost), [0] * count)
    found = compared(images(count), dense, slim, seen)
    assert len(found.examples) == min(lost, WORST) and len(found.pair) == 1 + bool(lost)
    assert (f"The worst {WORST}" in found.chosen) is bool(lost)


def test_where_nothing_agrees_there_is_no_such_picture() -> None:
    found = compared(images(1), details([0], [0], [2]), details([0], [0], [3]), seen)
    assert [example.name for example in found.pair] == ["0.jpg"]


def test_unlabeled_images_are_spread() -> None:
    paths = [Path(f"{number}.jpg") for number in range(100)]
    found = spread(paths, seen)
    assert len(found.examples) == EVENLY and not found.pair
    assert [found.examples[0].name, found.examples[-1].name] == ["0.jpg", "99.jpg"]
    assert found.chosen == f"{EVENLY} images, evenly spread over all 100."
