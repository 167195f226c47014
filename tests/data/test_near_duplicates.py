"""Near-duplicates are found whatever was done to them, and other images are not."""

import time
from collections.abc import Callable

import cv2
import numpy as np
import pytest

from yoloprune.data.near_duplicates import (
    HASH_BITS,
    NEAR,
    near_duplicate_groups,
    perceptual_hash,
)


def saved(image: np.ndarray, quality: int) -> np.ndarray:
    data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return cv2.imdecode(data, cv2.IMREAD_COLOR)


def resized(image: np.ndarray, width: int, height: int) -> np.ndarray:
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)


CHANGES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "saved again": lambda image: saved(image, 85),
    "saved badly": lambda image: saved(image, 25),
    "brightened": lambda image: cv2.convertScaleAbs(image, alpha=1.1, beta=8),
    "darkened": lambda image: cv2.convertScaleAbs(image, alpha=0.85),
    "smaller": lambda image: resized(image, 160, 120),
    "larger": lambda image: resized(image, 640, 480),
    "squeezed": lambda image: resized(image, 200, 200),
    "cut by a pixel": lambda image: image[1:-1, 1:-1],
    "all of it": lambda image: saved(cv2.convertScaleAbs(resized(image, 200, 150), beta=12), 60),
}


def shapes(seed: int) -> np.ndarray:
    """Discs on a plain ground, as drawn or industrial images have them."""
    generator = np.random.default_rng(seed)
    image = np.full((240, 320, 3), generator.integers(150, 220), np.uint8)
    for _ in range(5):
        center = tuple(generator.integers((20, 20), (300, 220)).tolist())
        color = tuple(generator.integers(0, 255, 3).tolist())
        cv2.circle(image, center, int(generator.integers(10, 40)), color, -1)
    return image


def scene(seed: int) -> np.ndarray:
    """Detail of all sizes, as photographs have it."""
    generator = np.random.default_rng(seed)
    layers = [
        resized(generator.normal(0, 4 * size, (240 // size, 320 // size, 3)), 320, 240)
        for size in (5, 10, 20, 40)
    ]
    return np.clip(128 + sum(layers) / 4, 0, 255).astype(np.uint8)


def gradient(seed: int) -> np.ndarray:
    """Next to no detail."""
    angle = np.random.default_rng(seed).uniform(0, np.pi / 2)
    y, x = np.mgrid[0:240, 0:320]
    ramp = 40 + 60 * (np.cos(angle) * x / 320 + np.sin(angle) * y / 240)
    return np.repeat(ramp.astype(np.uint8)[..., None], 3, axis=2)


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("draw", [shapes, scene, gradient])
def test_a_changed_copy_is_a_near_duplicate(draw: Callable[[int], np.ndarray], change: str) -> None:
    images = [draw(seed) for seed in range(10)]
    pairs = [[perceptual_hash(i), perceptual_hash(CHANGES[change](i))] for i in images]
    assert max(int((a != b).sum()) for a, b in pairs) <= NEAR


@pytest.mark.parametrize("draw", [shapes, scene])
def test_other_images_are_not(draw: Callable[[int], np.ndarray]) -> None:
    hashes = np.array([perceptual_hash(draw(seed)) for seed in range(40)])
    assert near_duplicate_groups(hashes).tolist() == list(range(40))


def flipped(base: np.ndarray, *bits: int) -> np.ndarray:
    copy = base.copy()
    copy[list(bits)] ^= True
    return copy


def test_chains_are_one_group_and_the_bound_is_exact() -> None:
    base, far = np.zeros(HASH_BITS, bool), np.ones(HASH_BITS, bool)
    near, next_ = flipped(base, *range(NEAR)), flipped(base, *range(2 * NEAR))
    beyond = flipped(base, *range(100, 100 + NEAR + 1))
    groups = near_duplicate_groups(np.array([base, far, next_, beyond, near, base]))
    assert groups.tolist() == [0, 1, 0, 2, 0, 0]
    assert near_duplicate_groups(np.array([base, next_, near, base]), 0).tolist() == [0, 1, 2, 0]


def test_groups_of_many_are_those_of_every_pair() -> None:
    generator = np.random.default_rng(0)
    centers = generator.random((200, HASH_BITS)) > 0.5
    hashes = centers[generator.integers(0, 200, 900)] ^ (generator.random((900, HASH_BITS)) < 0.06)
    near = (hashes[:, None] != hashes[None]).sum(axis=2) <= NEAR
    expected = np.arange(900)
    for _ in range(20):
        expected = np.where(near, expected, 900).min(axis=1)
    found = near_duplicate_groups(hashes)
    assert (found[:, None] == found).tolist() == (expected[:, None] == expected).tolist()


def test_a_film_of_one_picture_takes_no_longer() -> None:
    generator = np.random.default_rng(0)
    base = generator.random(HASH_BITS) > 0.5
    hashes = base ^ (generator.random((4000, HASH_BITS)) < 0.03)
    start = time.monotonic()
    assert near_duplicate_groups(hashes).max() == 0
    assert time.monotonic() - start < 20
