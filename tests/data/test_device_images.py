"""Samples made on a device, beside those that OpenCV and albumentations make of the same seeds."""

import albumentations
import numpy as np
import pytest
import torch

from tests.training.painted import paint
from yoloprune.data import augment, device_images, loader
from yoloprune.data.dataset import Dataset
from yoloprune.data.device_images import DeviceImages, memory
from yoloprune.data.loader import TrainingImages, micro_batches
from yoloprune.data.read import read_dataset

CPU = torch.device("cpu")
SIDE = 96


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    root = paint(tmp_path_factory.mktemp("painted"), train=13, test=1, side=SIDE)
    return read_dataset(root, classes=1, split="train")


def images_of(data: Dataset, *, augmented: bool = True, mosaic: float = 0.5) -> DeviceImages:
    return DeviceImages(
        data, augment=augmented, mosaic=mosaic, seed=3, channels=3, longest=SIDE, device=CPU
    )


def epoch(images: DeviceImages | TrainingImages, **options: int) -> list[loader.Batch]:
    settings = {
        "batch_size": 4, "parts": 2, "own_parts": range(2), "epoch": 2, "first_step": 0,
        "base_size": (SIDE, SIDE), "multi_scale": 0.5,
    } | options  # fmt: skip
    if isinstance(images, DeviceImages):
        return list(images.batches(**settings))  # type: ignore[arg-type]
    return list(micro_batches(images, **settings, workers=0))  # type: ignore[arg-type]


@pytest.mark.parametrize(("augmented", "mosaic"), [(False, 0.0), (True, 0.0), (True, 1.0)])
def test_boxes_and_pixels_are_those_of_the_loader(
    data: Dataset, monkeypatch: pytest.MonkeyPatch, augmented: bool, mosaic: float
) -> None:
    monkeypatch.setattr(augment, "_recolored", lambda sample, seed: sample)
    monkeypatch.setattr(device_images, "_color_shifts", lambda seeds, channels: None)
    here = epoch(images_of(data, augmented=augmented, mosaic=mosaic))
    there = epoch(TrainingImages(data, augment=augmented, mosaic=mosaic, seed=3))
    assert len(here) == len(there) == 6
    for ours, theirs in zip(here, there, strict=True):
        assert torch.equal(ours.image, theirs.image) and torch.equal(ours.label, theirs.label)
        assert torch.equal(ours.boxes, theirs.boxes)
        assert ours.images.shape == theirs.images.shape and ours.images.dtype == torch.uint8
        difference = (ours.images.int() - theirs.images.int()).abs().float()
        # OpenCV rounds places to a 32nd of a pixel; what is shrunk is blurred in another way.
        assert difference.mean() < 3
        assert difference.quantile(0.95) < 20


def test_a_warp_is_opencvs_within_a_level(data: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(augment, "_recolored", lambda sample, seed: sample)
    monkeypatch.setattr(device_images, "_color_shifts", lambda seeds, channels: None)
    # Enlarged images alone: neither renderer blurs them before.
    larger = {"base_size": (3 * SIDE, 3 * SIDE), "multi_scale": 0.0}
    here = epoch(images_of(data, mosaic=0.0), **larger)  # type: ignore[arg-type]
    there = epoch(TrainingImages(data, augment=True, mosaic=0.0, seed=3), **larger)  # type: ignore[arg-type]
    for ours, theirs in zip(here, there, strict=True):
        difference = (ours.images.int() - theirs.images.int()).abs().float()
        assert difference.mean() < 0.5
        # Noise between neighbors, moved by a 64th of a pixel at most.
        assert difference.max() <= 8


def test_colors_are_shifted_as_albumentations_does() -> None:
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (6, 32, 32, 3), dtype=np.uint8)
    shifts = np.array(
        [(0, 0, 0), (8, 0, 0), (-7, 0, 0), (0, 50, 0), (0, 0, -40), (5, -60, 45)], np.float32
    )
    ours = device_images._recolored(torch.from_numpy(images).float(), torch.from_numpy(shifts))
    for image, found, (hue, saturation, value) in zip(images, ours, shifts.tolist(), strict=True):
        transform = albumentations.HueSaturationValue(
            hue_shift_limit=(hue, hue),
            sat_shift_limit=(saturation, saturation),
            val_shift_limit=(value, value),
            p=1.0,
        )
        truth = transform(image=image)["image"].astype(float)
        difference = np.abs(found.numpy().clip(0, 255) - truth)
        # OpenCV's hues are whole numbers out of 180.
        assert difference.mean() < 1.5 and np.quantile(difference, 0.99) < 6


def test_gray_images_only_become_lighter_or_darker() -> None:
    images = torch.full((3, 4, 4, 1), 100.0)
    shifts = device_images._color_shifts(np.arange(40), 1)
    assert shifts is not None and (shifts[:, :2] == 0).all() and (shifts[:, 2] != 0).any()
    found = device_images._recolored(images, torch.tensor([[9.0, 9, 0], [0, 0, 5], [0, 0, -7]]))
    assert [image.unique().tolist() for image in found] == [[100], [105], [93]]


def test_a_run_goes_on_in_the_middle_of_an_epoch(data: Dataset) -> None:
    images = images_of(data)
    whole, rest = epoch(images), epoch(images, first_step=2)
    for ours, theirs in zip(rest, whole[4:], strict=True):
        assert torch.equal(ours.images, theirs.images) and torch.equal(ours.boxes, theirs.boxes)
    assert not torch.equal(epoch(images, epoch=3)[0].boxes, whole[0].boxes)


def test_memory_is_not_underestimated(data: Dataset) -> None:
    images = images_of(data)
    assert images.pixels.numel() <= memory(data, SIDE, 3) < 1.2 * images.pixels.numel()
    assert len(images) == 13
