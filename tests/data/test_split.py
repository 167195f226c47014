"""Held-out images: disjoint, complete, in runs, and the same for the same seed."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from yoloprune.data.dataset import Dataset, LabelledImage
from yoloprune.data.split import BLOCK, hold_out
from yoloprune.errors import DatasetError


def dataset(count: int, objects: int = 1) -> Dataset:
    images = tuple(
        LabelledImage(
            path=Path(f"{number:04}.jpg"),
            boxes=np.full((objects, 4), 0.5),
            labels=np.zeros(objects, np.int64),
        )
        for number in range(count)
    )
    return Dataset(images=images, names=("hand",))


@pytest.mark.parametrize(("count", "share"), [(2869, 0.1), (40, 0.25), (7, 0.2)])
def test_every_image_is_on_exactly_one_side(count: int, share: float) -> None:
    whole = dataset(count)
    training, validation = hold_out(whole, share)
    names = [image.path for part in (training, validation) for image in part.images]
    assert sorted(names) == [image.path for image in whole.images]
    assert len(validation.images) == pytest.approx(share * count, abs=BLOCK)
    again = hold_out(whole, share)
    assert [i.path for i in again[1].images] == [i.path for i in validation.images]
    other = hold_out(whole, share, seed=1)[1]
    assert [i.path for i in other.images] != [i.path for i in validation.images]


def test_neighbours_stay_together() -> None:
    validation = hold_out(dataset(2000), 0.1)[1]
    numbers = [int(image.path.stem) for image in validation.images]
    breaks = sum(b - a > 1 for a, b in pairwise(numbers))
    assert breaks < len(numbers) / BLOCK


def test_senseless_shares_are_refused() -> None:
    for share in (-0.1, 1.0, float("nan")):
        with pytest.raises(DatasetError, match=r"in \(0, 1\)"):
            hold_out(dataset(100), share)
    with pytest.raises(DatasetError, match="without objects"):
        hold_out(dataset(1), 0.5)
    with pytest.raises(DatasetError, match="without objects"):
        hold_out(dataset(100, objects=0), 0.5)
