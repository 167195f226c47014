"""Training samples: images with boxes, augmented, at the network's input size.

Images are uint8 (H, W, C), RGB or gray; boxes are xyxy in pixels, (0, 0) being the outer corner of
the first pixel. Every random choice comes from one generator a sample, so a sample depends on its
seed alone, not on the order or the process in which it is made.

Gray images are read gray and augmented so, as darknet does: training sees the grays that detection
reads, and only the brightness changes, as hue and saturation are nothing to a gray camera.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from yoloprune.data.images import Image, with_channel_axis
from yoloprune.data.levels import nearest_levels, shrunk
from yoloprune.data.recipes import cut, drawn, fitted, moved, uniforms

GRAY = 128

HUE, SATURATION, VALUE = 8, 60, 45
"""Largest shifts of colors; of hues, which go round in 180, of saturation and value, in 255."""

RECOLORED = 0.8
"""Share of the samples whose colors are shifted."""

WORSENED = 0.1
"""Share of the samples that are blurred, and of those that go through JPEG."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sample:
    """An image with N boxes (N, 4) float32 xyxy in pixels and labels (N,) int64.

    `smaller` are copies of the image, as `levels` has them, where they are at hand.
    """

    image: Image
    boxes: NDArray[np.float32]
    labels: NDArray[np.int64]
    smaller: tuple[Image, ...] = ()


Fetch: TypeAlias = Callable[[int], Sample]
"""Gives the sample of an index as it is in the data set."""


def plain_sample(sample: Sample, size: tuple[int, int]) -> Sample:
    """The sample fitted into (height, width), aspect ratio kept, centered on gray.

    Boxes with too small a side are dropped.
    """
    matrix = fitted((sample.image.shape[0], sample.image.shape[1]), size)
    return _placed(sample, matrix, (0, 0, size[1], size[0]))


def augmented_sample(
    fetch: Fetch, index: int, count: int, size: tuple[int, int], mosaic: float, seed: Sequence[int]
) -> Sample:
    """An augmented training sample of (height, width), a function of its arguments alone.

    One image, or with probability `mosaic` four of them, the other three drawn from the first
    `count` samples; see `recipes`. Boxes are cut at the border of the image or of their tile; those
    of which too little is left are dropped.
    """

    def shapes(numbers: NDArray[np.int64]) -> NDArray[np.int64]:
        flat = [fetch(number).image.shape[:2] for number in numbers.ravel().tolist()]
        return np.array(flat).reshape(*numbers.shape, 2)

    recipes = drawn(uniforms(seed)[None], np.array([index]), count, shapes, size, mosaic)
    tiles = [
        _placed(fetch(number), matrix, span)
        for number, matrix, span in zip(
            recipes.images[0].tolist(),
            recipes.matrices[0],
            recipes.spans()[0].tolist(),
            strict=True,
        )
        if span[0] < span[2] and span[1] < span[3]
    ]
    return _recolored(_joined(tiles), int(recipes.colors[0]))


def _joined(tiles: Sequence[Sample]) -> Sample:
    """The one tile, or the four around the center."""
    images = [tile.image for tile in tiles]
    image = (
        images[0] if len(tiles) == 1 else np.vstack([np.hstack(images[:2]), np.hstack(images[2:])])
    )
    return Sample(
        image=image,
        boxes=np.concatenate([tile.boxes for tile in tiles]),
        labels=np.concatenate([tile.labels for tile in tiles]),
    )


def _placed(sample: Sample, matrix: NDArray[np.float64], span: Sequence[int]) -> Sample:
    """The sample moved by a matrix (2, 3) onto gray, of which the part xyxy is seen, then cut."""
    left, top, right, bottom = span
    image = _near(sample, matrix)
    # Of an image that is as large as the sample's own.
    ratio = np.array(sample.image.shape[1::-1]) / image.shape[1::-1]
    linear = matrix[:, :2] * ratio
    # Boxes count from the edge of the first pixel, the warp from its center.
    offset = matrix[:, 2] - [left, top] + linear @ [0.5, 0.5] - 0.5
    warped = cv2.warpAffine(
        image,
        np.column_stack((linear, offset)),
        (right - left, bottom - top),
        flags=cv2.INTER_LINEAR,
        borderValue=(GRAY, GRAY, GRAY),
    )
    boxes, kept = cut(moved(sample.boxes, matrix), np.asarray(span))
    return Sample(image=with_channel_axis(warped), boxes=boxes, labels=sample.labels[kept])


def _near(sample: Sample, matrix: NDArray[np.float64]) -> Image:
    """The sample's image about as large as a matrix makes it, or larger than it was by nothing."""
    if sample.smaller:
        return (sample.image, *sample.smaller)[nearest_levels(matrix)]
    # Area-like results when shrinking need a blur first; INTER_AREA does not exist for warps.
    if (scale := float(np.sqrt(abs(np.linalg.det(matrix[:, :2]))))) >= 0.75:
        return sample.image
    return shrunk(sample.image, max(1, round(scale * max(sample.image.shape[:2]))))


def _recolored(sample: Sample, seed: int) -> Sample:
    """The sample with other colors, and a few blurred or as JPEG leaves them."""
    generator = np.random.default_rng(seed)
    chance, *draws = generator.random(4).tolist()
    image = sample.image
    if chance < RECOLORED:
        hue, saturation, value = (2 * draw - 1 for draw in draws)
        image = shifted(image, HUE * hue, SATURATION * saturation, VALUE * value)
    for pipeline, other in zip((_blur, _compression), generator.random(2).tolist(), strict=True):
        if other < WORSENED:
            transform = pipeline()
            transform.set_random_seed(int(generator.integers(2**31)))
            image = transform(image=image)["image"]
    return replace(sample, image=np.asarray(image, np.uint8))


def shifted(image: Image, hue: float, saturation: float, value: float) -> Image:
    """The image with its hues shifted, in 180, and its saturation and value, in 255.

    What is gray stays gray. Just what albumentations' HueSaturationValue does, by one look-up.
    """
    levels = np.arange(256)
    lighter = (levels + int(value)).clip(0, 255)
    if image.shape[2] == 1:
        return with_channel_axis(cv2.LUT(image, lighter.astype(np.uint8)))
    stronger = np.where(levels > 0, (levels + int(saturation)).clip(0, 255), 0)
    table = np.stack((np.mod(levels + hue, 180), stronger, lighter), axis=-1).astype(np.uint8)
    changed = cv2.LUT(cv2.cvtColor(image, cv2.COLOR_RGB2HSV), table[None])
    return np.asarray(cv2.cvtColor(changed, cv2.COLOR_HSV2RGB), np.uint8)


@cache
def _blur() -> Any:
    albumentations = _albumentations()
    return albumentations.Compose(
        [
            albumentations.OneOf(
                [
                    albumentations.Blur(blur_limit=3),
                    # Symmetric: otherwise it moves the image to one side under its boxes.
                    albumentations.MotionBlur(
                        blur_limit=5, allow_shifted=False, direction_range=(0.0, 0.0)
                    ),
                ],
                p=1.0,
            )
        ]
    )


@cache
def _compression() -> Any:
    albumentations = _albumentations()
    return albumentations.Compose([albumentations.ImageCompression(quality_range=(40, 90), p=1.0)])


def _albumentations() -> Any:
    # It asks the network for its newest version at import, and takes seconds to import.
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
    import albumentations

    return albumentations
