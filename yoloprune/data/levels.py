"""Images at their own size, a half, a quarter and an eighth: what is shrunk is sampled from these.

Bilinear samples of an image that is shrunk much leave out pixels; of the level that is shrunk by
less than 1.5 times they hardly do, and no image has to be resized for every sample.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from yoloprune.data.images import Image, with_channel_axis

LEVELS = 4


def levels_of(image: Image) -> tuple[Image, ...]:
    """An image and its smaller copies."""
    side = max(image.shape[:2])
    smaller = (shrunk(image, max(1, round(side / 2**level))) for level in range(1, LEVELS))
    return image, *smaller


def shrunk(image: Image, longest: int) -> Image:
    """The image with a longer side of at most `longest` pixels."""
    height, width = image.shape[:2]
    if (scale := longest / max(height, width)) >= 1:
        return image
    size = [max(1, round(side * scale)) for side in (width, height)]
    return with_channel_axis(cv2.resize(image, size, interpolation=cv2.INTER_AREA))


def nearest_levels(matrices: NDArray[np.float64]) -> NDArray[np.int64]:  # (..., 2, 3) -> (...)
    """Which level is the last that a matrix enlarges by no more than the root of 2."""
    scale = np.sqrt(np.abs(np.linalg.det(matrices[..., :2])))
    levels: NDArray[np.int64] = np.floor(0.5 - np.log2(np.maximum(scale, 1e-6))).astype(np.int64)
    return levels.clip(0, LEVELS - 1)
