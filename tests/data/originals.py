"""Originals of the VGG Hand data set for tests, written with SciPy and OpenCV."""

import zlib
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from scipy.io import savemat

TRAINING = Path("training_dataset", "training_data")
VALIDATION = Path("validation_dataset", "validation_data")
TEST = Path("test_dataset", "test_data")

# Corners a, b, c, d as (y, x), counted from 1, as in the files.
Hand = Sequence[tuple[float, float]]
SQUARE: Hand = ((11, 21), (11, 61), (31, 61), (31, 21))
DIAMOND: Hand = ((41, 11), (1, 51), (41, 91), (81, 51))


def write_image(path: Path, width: int = 100, height: int = 90) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    # Other pixels for each name.
    seed = zlib.crc32("/".join(path.parts[-3:]).encode())
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    assert cv2.imwrite(str(path), pixels)


def write_mat(path: Path, hands: Sequence[Hand], **more: object) -> None:
    """A .mat file whose structs have also the fields `more`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    cells = np.empty((1, len(hands)), object)
    for index, hand in enumerate(hands):
        fields = {key: np.array([point], float) for key, point in zip("abcd", hand, strict=True)}
        cells[0, index] = fields | more
    savemat(path, {"boxes": cells})


def add(root: Path, part: Path, name: str, hands: Sequence[Hand]) -> None:
    """An image of 100x90 pixels with its annotation."""
    write_image(root / part / "images" / f"{name}.jpg")
    write_mat(root / part / "annotations" / f"{name}.mat", hands)


def small_original(root: Path) -> Path:
    """Two training images, one for validation and one for testing, with 2 + 0 + 1 + 1 hands."""
    add(root, TRAINING, "a", [SQUARE, DIAMOND])
    add(root, TRAINING, "b", [])
    add(root, VALIDATION, "a", [SQUARE])
    add(root, TEST, "a", [DIAMOND])
    return root
