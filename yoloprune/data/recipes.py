"""What becomes of the images and boxes of training samples, whoever renders them.

N samples, T tiles each. A sample is one image, or a mosaic of four around a center; each image is
scaled, rotated, sheared and placed at random within its tile, and the whole is mirrored or not.
Coordinates are pixels, (0, 0) being the outer corner of the first one. Every choice is a function
of the uniform numbers that a sample is drawn from, so that two renderers make the same sample.

A box is rotated as the ellipse that touches its sides: the corners of a rotated box would claim
more than the object, which rarely fills them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

TILES = 4
SCALE = 0.5
"""Images are scaled by exp(-SCALE) to exp(SCALE), beside what fits them into their tile."""

ROTATION, SHEAR = 12.0, 3.0
"""Largest angles, degrees, to either side."""

SMALLEST_SIDE = 2.0
"""Boxes with a side of less than this many pixels, after scaling and cutting, are dropped."""

SMALLEST_SHARE = 0.2
"""Boxes of which less than this share of the area is left are dropped."""

_COMMON, _OF_TILE = 5, 6
DRAWS = _COMMON + TILES * _OF_TILE
"""Uniform numbers that a sample is drawn from."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Recipes:
    """Where the images of N samples of one size come to lie.

    Attributes:
        size: (height, width) of every sample.
        center: (N, 2) int64, the (x, y) where its tiles meet; (width, height) for a single image.
        images: (N, T) int64, numbers in the data set of the tiles' images in reading order; the
            first tile of a single image is all of it.
        matrices: (N, T, 2, 3) float64, from pixels of an image to pixels of its sample.
        colors: (N,) int64, seeds of what becomes of the colors.
    """

    size: tuple[int, int]
    center: NDArray[np.int64]
    images: NDArray[np.int64]
    matrices: NDArray[np.float64]
    colors: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.images)

    def spans(self) -> NDArray[np.int64]:  # (N, T, 4)
        """The tiles as xyxy."""
        height, width = self.size
        x, y = self.center.T
        zero = np.zeros_like(x)
        right, bottom = np.full_like(x, width), np.full_like(y, height)
        edges = [
            (zero, zero, x, y),
            (x, zero, right, y),
            (zero, y, x, bottom),
            (x, y, right, bottom),
        ]
        return np.stack([np.stack(edge, axis=1) for edge in edges], axis=1)


def uniforms(seed: Sequence[int]) -> NDArray[np.float64]:  # (DRAWS,)
    """What one sample is drawn from."""
    return np.random.default_rng(tuple(seed)).random(DRAWS)


def drawn(
    draws: NDArray[np.float64],
    images: NDArray[np.int64],
    count: int,
    shapes: Callable[[NDArray[np.int64]], NDArray[np.int64]],
    size: tuple[int, int],
    mosaic: float,
) -> Recipes:
    """Augmented samples, from draws (N, DRAWS) and the numbers (N,) of their own images.

    A share `mosaic` of them are mosaics, whose other images are among the first `count`. `shapes`
    gives the (height, width) of images, (...) to (..., 2).
    """
    height, width = size
    own, common = draws[:, _COMMON:].reshape(-1, TILES, _OF_TILE), draws[:, :_COMMON]
    is_mosaic = common[:, 0] < mosaic
    middle = (np.array([width, height]) * (0.3 + 0.4 * common[:, 1:3])).astype(np.int64)
    center = np.where(is_mosaic[:, None], middle, [width, height])
    numbers = np.floor(own[..., 0] * count).astype(np.int64)
    numbers[:, 0] = images
    numbers = np.where(is_mosaic[:, None], numbers, numbers[:, :1])
    found = Recipes(
        size=size,
        center=center,
        images=numbers,
        matrices=np.zeros((len(draws), TILES, 2, 3)),
        colors=np.floor(common[:, 4] * 2**31).astype(np.int64),
    )
    found.matrices[:] = _scattered(own[..., 1:], shapes(numbers), found.spans())
    return _mirrored(found, common[:, 3] < 0.5, is_mosaic)


def fitted(shape: tuple[int, int], size: tuple[int, int]) -> NDArray[np.float64]:  # (2, 3)
    """From pixels of an image (height, width) to those of `size`: as large as fits, centered."""
    (height, width), (own_height, own_width) = size, shape
    scale = min(width / own_width, height / own_height)
    x, y = (width - own_width * scale) / 2, (height - own_height * scale) / 2
    return np.array([[scale, 0, x], [0, scale, y]])


def moved(
    boxes: NDArray[np.float32], matrices: NDArray[np.float64]
) -> NDArray[np.float32]:  # (M, 4), (2, 3) or (M, 2, 3) -> (M, 4)
    """Boxes around the moved ellipses that touch the sides of boxes; all xyxy."""
    center, half = (boxes[:, :2] + boxes[:, 2:]) / 2, (boxes[:, 2:] - boxes[:, :2]) / 2
    linear = matrices[..., :2]
    center = (linear * center[:, None]).sum(axis=-1) + matrices[..., 2]
    half = np.sqrt((np.square(linear) * np.square(half)[:, None]).sum(axis=-1))
    return np.concatenate((center - half, center + half), axis=1).astype(np.float32)


def cut(
    boxes: NDArray[np.float32], spans: NDArray[np.int64]
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:  # (M, 4), (4,) or (M, 4)
    """Boxes clipped to tiles, all xyxy, and which (M,) of them are left: not those cut away."""
    low, high = spans[..., [0, 1, 0, 1]], spans[..., [2, 3, 2, 3]]
    clipped = np.clip(boxes, low.astype(np.float32), high.astype(np.float32))
    sides = clipped[:, 2:] - clipped[:, :2]
    before = np.maximum((boxes[:, 2:] - boxes[:, :2]).prod(axis=1), 1e-6)
    keep = (sides >= SMALLEST_SIDE).all(axis=1) & (sides.prod(axis=1) >= SMALLEST_SHARE * before)
    return clipped[keep], keep


def _scattered(
    draws: NDArray[np.float64], shapes: NDArray[np.int64], spans: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Matrices (N, T, 2, 3) that place images of `shapes` (N, T, 2) in their tiles (N, T, 4)."""
    room = (spans[..., 2:] - spans[..., :2]).astype(np.float64)
    sides = shapes[..., ::-1].astype(np.float64)
    scale = (room / sides).min(axis=-1) * np.exp(SCALE * (2 * draws[..., 0] - 1))
    angle = np.deg2rad(ROTATION) * (2 * draws[..., 1] - 1)
    shear = np.tan(np.deg2rad(SHEAR) * (2 * draws[..., 2] - 1))
    cos, sin = np.cos(angle), np.sin(angle)
    rows = ((cos, cos * shear - sin), (sin, sin * shear + cos))
    linear = scale[..., None, None] * np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)
    # The smallest upright rectangle around the image, anywhere that fits, or hides as little.
    reach = (np.abs(linear) @ sides[..., None])[..., 0]
    corner = spans[..., :2] + (room - reach) * draws[..., 3:5]
    lowest = (np.minimum(linear, 0) @ sides[..., None])[..., 0]
    return np.concatenate((linear, (corner - lowest)[..., None]), axis=-1)


def _mirrored(recipes: Recipes, chosen: NDArray[np.bool_], is_mosaic: NDArray[np.bool_]) -> Recipes:
    """The recipes, the chosen ones from right to left."""
    width = recipes.size[1]
    center, images = recipes.center.copy(), recipes.images.copy()
    matrices = recipes.matrices.copy()
    matrices[chosen, :, 0] *= -1
    matrices[chosen, :, 0, 2] += width
    tiles = chosen & is_mosaic
    center[tiles, 0] = width - center[tiles, 0]
    other = [1, 0, 3, 2]
    images[tiles], matrices[tiles] = images[tiles][:, other], matrices[tiles][:, other]
    return Recipes(
        size=recipes.size, center=center, images=images, matrices=matrices, colors=recipes.colors
    )
