"""Images that are nearly the same: saved again, brightened, resized, or neighbors in a film.

N: images. B: bits of a hash.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from yoloprune.data.images import Image

HASH_BITS = 143
"""Twelve by twelve frequencies, but for the mean."""

NEAR = 28
"""Hashes of near-duplicates differ in no more bits than this; those of other images in half."""

_SIDE, _FREQUENCIES = 48, 12
# In gray levels: rounding and compression leave so much of a frequency that is not in the image.
_NOISE = 4.0
_PAIRS = 1 << 23


def perceptual_hash(image: Image) -> NDArray[np.bool_]:  # (H, W, 3) -> (B,)
    """Which low frequencies of an image are strong, whatever its size and its brightness.

    The signs of a cosine transform, against their median (C. Zauner, "Implementation and
    Benchmarking of Perceptual Image Hash Functions", 2010), with a margin: in a smooth image most
    of them are noise about 0.
    """
    gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    small = cv2.resize(gray, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)
    frequencies = np.asarray(cv2.dct(small))[:_FREQUENCIES, :_FREQUENCIES].reshape(-1)[1:]
    return np.asarray(frequencies > np.median(frequencies) + _NOISE)


def near_duplicate_groups(
    hashes: NDArray[np.bool_], most: int = NEAR
) -> NDArray[np.int64]:  # (N, B) -> (N,)
    """Which group each image belongs to, numbered from 0 by their first images.

    Two images whose hashes differ in at most `most` bits are in one group, and so are all that a
    chain of such pairs joins.
    """
    signs = np.where(hashes, 1, -1).astype(np.float32)
    groups = np.arange(len(signs))
    # Every pair is compared: a product of matrices takes less time than decoding the images does,
    # and bits to look up candidates by would have to be few, since so many may differ.
    rows = max(1, _PAIRS // max(1, len(signs)))
    for start in range(0, len(signs), rows):
        agreeing = signs[start : start + rows] @ signs[start:].T
        near = agreeing >= hashes.shape[1] - 2 * most
        for row in np.flatnonzero(near.sum(axis=1) > 1):
            joined = np.unique(groups[start:][near[row]])
            if len(joined) > 1:
                groups[np.isin(groups, joined)] = joined[0]
    return np.unique(groups, return_inverse=True)[1].reshape(-1)
