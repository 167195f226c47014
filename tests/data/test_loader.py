"""Batches: functions of seed, epoch and place; one line for an image that breaks."""

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.training.painted import paint
from yoloprune.data import loader
from yoloprune.data.dataset import Dataset
from yoloprune.data.images import read_image
from yoloprune.data.loader import Batch, SampleKey, TrainingImages, micro_batches
from yoloprune.data.read import read_dataset
from yoloprune.errors import DatasetError

SIDE = 64
KEY = SampleKey(index=3, epoch=1, place=5, size=(SIDE, SIDE))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    root = paint(tmp_path_factory.mktemp("painted"), train=13, test=1, side=SIDE)
    return read_dataset(root, classes=1, split="train")


def training_images(data: Dataset, seed: int = 0) -> TrainingImages:
    return TrainingImages(data, augment=True, mosaic=0.5, seed=seed)


def batches(data: Dataset, **options: Any) -> list[Batch]:
    """An epoch of three steps of four images, with what `options` says otherwise."""
    settings: dict[str, Any] = {
        "batch_size": 4, "parts": 1, "own_parts": range(1), "epoch": 2, "first_step": 0,
        "base_size": (SIDE, SIDE), "multi_scale": 0.5, "workers": 0,
    }  # fmt: skip
    images = options.pop("images", training_images(data))
    return list(micro_batches(images, **(settings | options)))


def same(a: object, b: object) -> bool:
    """Whether two batches or two samples are equal bit for bit."""
    return all(
        np.array_equal(getattr(a, field.name), getattr(b, field.name))
        for field in fields(a)  # type: ignore[arg-type]
    )


def all_same(a: list[Batch], b: list[Batch]) -> bool:
    return len(a) == len(b) and all(map(same, a, b))


def test_a_sample_is_a_function_of_seed_epoch_and_place(data: Dataset) -> None:
    fresh, used = training_images(data), training_images(data)
    used.fill_cache()
    for place in range(8):
        used[replace(KEY, place=place, index=place)]
    torch.manual_seed(7)
    assert same(fresh[KEY], used[KEY])
    assert not same(fresh[KEY], fresh[replace(KEY, epoch=2)])
    assert not same(fresh[KEY], fresh[replace(KEY, place=6)])
    assert not same(fresh[KEY], training_images(data, seed=1)[KEY])


def test_an_epoch_is_whole_batches_of_different_images(data: Dataset) -> None:
    made = batches(data)
    assert [len(batch.images) for batch in made] == [4, 4, 4]
    for batch in made:
        assert batch.images.dtype == torch.uint8
        assert batch.images.shape[2] == batch.images.shape[3]
        assert batch.images.shape[2] % 32 == 0
        assert len(batch.image) == len(batch.label) == len(batch.boxes)
    orders = [loader.epoch_order(13, seed=0, epoch=epoch) for epoch in (0, 1)]
    assert all(sorted(order.tolist()) == list(range(13)) for order in orders)
    assert (orders[0] != orders[1]).any()


@pytest.mark.parametrize(
    ("base", "longest"),
    [((192, 320), (160, 480)), ((320, 192), (160, 480)), ((128, 128), (64, 192))],
)
def test_sizes_vary_with_the_aspect_ratio_kept(
    base: tuple[int, int], longest: tuple[int, int]
) -> None:
    sizes = {loader.step_size(base, 0.5, seed=0, epoch=0, step=step) for step in range(200)}
    assert {max(size) for size in sizes} == set(range(longest[0], longest[1] + 1, 32))
    for size in sizes:
        assert all(side % 32 == 0 and side > 0 for side in size)
        wanted = [side * max(size) / max(base) for side in base]
        assert np.abs(np.subtract(size, wanted)).max() <= 16
    assert loader.step_size(base, 0.0, seed=0, epoch=0, step=0) == base


def test_samples_have_the_size_and_the_channels_of_the_network(data: Dataset) -> None:
    gray = TrainingImages(data, augment=True, mosaic=0.5, seed=0, channels=1)
    for images, channels in ((training_images(data), 3), (gray, 1)):
        made = batches(data, images=images, base_size=(64, 96), multi_scale=0.0)
        assert {tuple(batch.images.shape) for batch in made} == {(4, channels, 64, 96)}
        # Anew, as a resumed run makes them.
        rest = batches(data, images=images, base_size=(64, 96), multi_scale=0.0, first_step=1)
        assert all_same(rest, made[1:])


def test_plain_gray_samples_are_what_detection_reads(data: Dataset) -> None:
    gray = TrainingImages(data, augment=False, mosaic=0.0, seed=0, channels=1)
    sample = gray[replace(KEY, index=2)]
    assert np.array_equal(sample.image, read_image(data.images[2].path, 1))


@pytest.mark.parametrize("parts", [2, 4])
def test_two_processes_make_the_micro_batches_of_one(data: Dataset, parts: int) -> None:
    alone = batches(data, parts=parts, own_parts=range(parts))
    half = parts // 2
    first = batches(data, parts=parts, own_parts=range(half))
    second = batches(data, parts=parts, own_parts=range(half, parts))
    together = []
    for step in range(3):
        own = slice(step * half, (step + 1) * half)
        together += first[own] + second[own]
    assert all_same(together, alone)


def test_parts_cut_a_batch_and_change_no_image(data: Dataset) -> None:
    whole, cut = batches(data), batches(data, parts=2, own_parts=range(2))
    for step, batch in enumerate(whole):
        pair = cut[2 * step : 2 * step + 2]
        assert torch.equal(torch.cat([part.images for part in pair]), batch.images)
        assert torch.equal(torch.cat([part.boxes for part in pair]), batch.boxes)


@pytest.mark.parametrize("first_step", [1, 2, 3])
def test_the_first_step_skips_as_many_steps(data: Dataset, first_step: int) -> None:
    whole = batches(data, parts=2, own_parts=range(2))
    rest = batches(data, parts=2, own_parts=range(2), first_step=first_step)
    assert all_same(rest, whole[2 * first_step :])


@pytest.mark.parametrize("workers", [0, 1])
def test_the_global_random_state_stays(data: Dataset, workers: int) -> None:
    before = torch.get_rng_state()
    made = batches(data, workers=workers)
    assert torch.equal(torch.get_rng_state(), before)
    assert all_same(made, batches(data))


def test_the_cache_is_filled_up_to_its_limit(
    data: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[Path] = []

    def counting(path: Path, channels: int) -> Any:
        read.append(path)
        return read_image(path, channels)

    monkeypatch.setattr(loader, "read_image", counting)
    monkeypatch.setattr(loader, "CACHE_BYTES", 5 * SIDE * SIDE * 3 + 1)
    images = TrainingImages(data, augment=False, mosaic=0.0, seed=0)
    images.fill_cache()
    # The sixth must be read to see that it does not fit.
    assert read == [image.path for image in data.images[:6]]
    for index in (4, 5):
        images[replace(KEY, index=index)]
    assert read[6:] == [data.images[5].path]


@pytest.mark.parametrize("workers", [0, 1])
def test_an_image_that_breaks_is_told_in_one_line(tmp_path: Path, workers: int) -> None:
    broken = read_dataset(paint(tmp_path, train=4, test=1), classes=1, split="train")
    order = loader.epoch_order(4, seed=0, epoch=0)
    path = broken.images[order[2]].path
    path.write_bytes(b"no image")
    made = micro_batches(
        TrainingImages(broken, augment=False, mosaic=0.0, seed=0), batch_size=1, parts=1,
        own_parts=range(1), epoch=0, first_step=0, base_size=(32, 32), multi_scale=0.0,
        workers=workers,
    )  # fmt: skip
    # What comes before it is trained on.
    next(made), next(made)
    with pytest.raises(DatasetError) as caught:
        next(made)
    assert str(caught.value) == f"{path}: not an image that can be decoded (damaged or empty)"
