"""Held-out images and new splits: disjoint, complete, without near-duplicates on two sides."""

from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.training.painted import paint
from yoloprune.data.check import Check, check_dataset
from yoloprune.data.dataset import Dataset, LabeledImage
from yoloprune.data.read import read_raw
from yoloprune.data.split import BLOCK, divide, hold_out, stratify, training_parts
from yoloprune.errors import DatasetError, UsageError


def dataset(count: int, objects: int = 1) -> Dataset:
    images = tuple(
        LabeledImage(
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


def test_neighbors_stay_together() -> None:
    validation = hold_out(dataset(2000), 0.1)[1]
    numbers = [int(image.path.stem) for image in validation.images]
    breaks = sum(b - a > 1 for a, b in pairwise(numbers))
    assert breaks < len(numbers) / BLOCK


def test_senseless_shares_are_refused() -> None:
    for share in (-0.1, 1.0, float("nan")):
        with pytest.raises(UsageError, match=r"in \(0, 1\)"):
            hold_out(dataset(100), share)
    with pytest.raises(DatasetError, match="without objects"):
        hold_out(dataset(1), 0.5)
    with pytest.raises(DatasetError, match="without objects"):
        hold_out(dataset(100, objects=0), 0.5)


def filmed(root: Path, *, scenes: int, frames: int) -> Check:
    """Painted images, some of them as several frames: saved again, brighter, smaller."""
    paint(root, train=scenes, test=0)
    folder = root / "images" / "train"
    for number, source in enumerate(sorted(folder.iterdir())[:frames]):
        image = cv2.imread(str(source))
        label = root / "labels" / "train" / f"{source.stem}.txt"
        for name, changed in {
            "again.jpg": image,
            "bright.png": cv2.convertScaleAbs(image, alpha=1.15),
            "small.png": cv2.resize(image, (48, 48), interpolation=cv2.INTER_AREA),
        }.items():
            # Anywhere in the order of names.
            copy = folder / f"{(number * 7) % 10}{source.stem}-{name}"
            cv2.imwrite(str(copy), changed)
            (label.parent / f"{copy.stem}.txt").write_text(label.read_text())
    return check_dataset(read_raw(root))


def test_near_duplicates_never_cross_a_split(tmp_path: Path) -> None:
    check = filmed(tmp_path, scenes=30, frames=8)
    shares = {"train": 0.6, "val": 0.2, "test": 0.2}
    division = divide(check, shares)
    assert division.groups == (4,) * 8
    sides: dict[str, set[str]] = {}
    for name, images in division.check.splits.items():
        assert len(images) == pytest.approx(shares[name] * 54, abs=2)
        for image in images:
            stem = image.labeled.path.stem
            scene = stem[1:].split("-")[0] if "-" in stem else stem
            sides.setdefault(scene, set()).add(name)
    assert len(sides) == 30 and all(len(names) == 1 for names in sides.values())
    paths = [i.labeled.path for images in division.check.splits.values() for i in images]
    assert sorted(paths) == sorted(image.labeled.path for image in check.images)


def test_only_the_seed_decides(tmp_path: Path) -> None:
    check = filmed(tmp_path, scenes=12, frames=0)
    shares = {"train": 0.75, "val": 0.25}

    def chosen(seed: int) -> list[Path]:
        return [
            image.labeled.path for image in divide(check, shares, seed=seed).check.splits["val"]
        ]

    assert chosen(0) == chosen(0) != chosen(1)


def test_senseless_divisions_are_refused(tmp_path: Path) -> None:
    check = filmed(tmp_path, scenes=3, frames=3)
    with pytest.raises(UsageError, match=r"add up to 1: not train 0\.9, val 0\.2"):
        divide(check, {"train": 0.9, "val": 0.2})
    with pytest.raises(UsageError, match=r"in \(0, 1\)"):
        divide(check, {"train": 1.2, "val": -0.2})
    with pytest.raises(
        DatasetError, match=r"12 images are too few for a split 'b' .*: 4 of them, up to 28"
    ):
        divide(check, {"a": 0.4, "b": 0.05, "c": 0.05, "d": 0.5})


@pytest.mark.parametrize("seed", range(3))
def test_every_class_is_shared_evenly(seed: int) -> None:
    random = np.random.default_rng(seed)
    # From hardly any image to most of them; a tenth shows none.
    shown = (random.random((1000, 6)) < [0.01, 0.05, 0.1, 0.2, 0.4, 0.8]).astype(np.int64)
    shown[random.random(1000) < 0.1] = 0
    # Pairs, and a few dozens.
    groups = np.where(random.random(1000) < 0.3, np.arange(1000) // 2 * 2, np.arange(1000))
    groups[random.permutation(1000)[:36]] = 0
    groups = np.unique(groups, return_inverse=True)[1]
    shares = [0.7, 0.2, 0.1]
    part = stratify(groups, shown, shares, seed=seed)[groups]
    for number, share in enumerate(shares):
        assert (part == number).sum() == pytest.approx(1000 * share, abs=3)
        counts = shown[part == number].sum(axis=0)
        expected = share * shown.sum(axis=0)
        assert (np.abs(counts - expected) <= np.maximum(2, 0.15 * expected)).all()


def test_classes_of_one_image_each_do_not_fill_the_first_part() -> None:
    part = stratify(np.arange(40), np.eye(40, dtype=np.int64), [0.75, 0.25])
    assert np.bincount(part).tolist() == [30, 10]


def test_validation_images_are_those_of_val_before_those_of_test(tmp_path: Path) -> None:
    paint(tmp_path, train=6, test=3)
    for kind in ("images", "labels"):
        (tmp_path / kind / "val").mkdir()
        for path in sorted((tmp_path / kind / "train").iterdir())[:2]:
            path.rename(tmp_path / kind / "val" / path.name)
    splits = read_raw(tmp_path).splits
    training, validation = training_parts(tmp_path, classes=1, splits=splits, share=0)
    assert (len(training.images), len(validation.images)) == (4, 2)
    named = training_parts(tmp_path, classes=1, splits=splits, share=0, validation="test")[1]
    assert len(named.images) == 3
