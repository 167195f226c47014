"""Sizes and places worked out by hand; how pixels become numbers is `preprocess`'s."""

import numpy as np
import pytest

from yoloprune.data.images import Image
from yoloprune.data.resizes import RESIZES, corner, crop, darknet_letterbox, letterbox, stretch


def image(height: int, width: int) -> Image:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


def test_stretching_fills_the_input() -> None:
    found = stretch(image(50, 100), 64, 32)
    assert found.image.shape == (64, 32, 3)
    assert (found.placement.scale, found.placement.offset) == ((0.32, 1.28), (0, 0))


def test_letterboxes_differ_by_how_they_round() -> None:
    # 50 * 64 / 101 = 31.68 columns.
    own, other = (way(image(101, 50), 64, 64) for way in (darknet_letterbox, letterbox))
    assert (own.image.shape, own.left, own.top) == ((64, 31, 3), 16, 0)
    assert (other.image.shape, other.left, other.top) == ((64, 32, 3), 16, 0)
    assert other.placement.scale == (32 / 50, 64 / 101)


def test_a_corner_is_where_it_says() -> None:
    found = corner(image(40, 80), 64, 64)
    assert (found.image.shape, found.left, found.top) == ((32, 64, 3), 0, 0)
    assert (found.placement.scale, found.placement.offset) == ((0.8, 0.8), (0, 0))


def test_a_crop_of_7_8_of_the_shorter_side_loses_no_pixel_of_its_own() -> None:
    whole = image(64, 96)
    found = crop(whole, 56, 56)
    assert np.array_equal(found.image, whole[4:60, 20:76])
    assert (found.placement.scale, found.placement.offset) == ((1, 1), (-20, -4))


@pytest.mark.parametrize("name", RESIZES)
@pytest.mark.parametrize("size", [(1, 900), (900, 1), (33, 47)])
def test_every_way_stays_within_the_input(name: str, size: tuple[int, int]) -> None:
    found = RESIZES[name](image(*size), 32, 48)
    height, width, channels = found.image.shape
    assert channels == 3
    assert 0 <= found.top <= found.top + height <= 32
    assert 0 <= found.left <= found.left + width <= 48
    # Either side of the input is met, or all of the image is there.
    assert height == 32 or width == 48
