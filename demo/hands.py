"""A rendered data set of hands, in the form of the original VGG Hand data set.

It exists so that everything that works on the original can be tried, tested and timed without it:
the same folders, the same .mat files, the same faults of a box here and there outside the image.

Usage: python -m demo.hands --out DIR --train N --test N [--seed N]
"""

import argparse
import io
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.io import savemat

from demo.rendering.scenes import random_scene
from yoloprune.cli.console import ConsoleReporter
from yoloprune.cores import available_cores
from yoloprune.data.vgg_hand import PARTS
from yoloprune.data.workers import made_in_order
from yoloprune.errors import UsageError, YoloPruneError
from yoloprune.files import write_folder
from yoloprune.reporter import SILENT, Reporter

VALIDATION_SHARE = 738 / 4807
"""How much of training and validation together is validation, as in the original."""

_QUALITIES = (45, 95)
_MAT_HEADER = b"MATLAB 5.0 MAT-file, rendered hands"
_MAT_HEADER_LENGTH = 116


def write_rendered_hands(
    out: Path, *, train: int, test: int, seed: int = 0, reporter: Reporter = SILENT
) -> None:
    """Write `out`/hand_dataset with `train` images (training and validation) and `test` images.

    The same numbers and seed give the same files, bit for bit.
    Raises `UsageError` if `out` is not free or a number is not possible.
    """
    if train < 1 or test < 1:
        raise UsageError(f"{train} training and {test} test images: at least 1 of each is needed")
    if seed < 0:
        raise UsageError(f"seed {seed}: expected a number from 0")
    validation = min(round(train * VALIDATION_SHARE), train - 1)
    counts = {"training": train - validation, "validation": validation, "test": test}
    with write_folder(out, must_be_new=True) as folder:
        roots = {part: folder / "hand_dataset" / path for part, path in PARTS.items()}
        for root in roots.values():
            (root / "images").mkdir(parents=True)
            (root / "annotations").mkdir()
        jobs = [(part, number) for part, count in counts.items() for number in range(1, count + 1)]

        def draw(job: int) -> int:
            part, number = jobs[job]
            # Each image has its own numbers: more images do not change the earlier ones.
            random = np.random.default_rng((seed, list(PARTS).index(part), number))
            scene = random_scene(random)
            quality = int(random.integers(*_QUALITIES))
            name = f"rendered_{number:05d}"
            (roots[part] / "images" / f"{name}.jpg").write_bytes(_jpeg(scene.image, quality))
            annotation = roots[part] / "annotations" / f"{name}.mat"
            annotation.write_bytes(hand_annotation(scene.corners))
            return number

        cores = available_cores()
        drawn = made_in_order(draw, len(jobs), workers=cores if cores > 1 else 0, reporter=reporter)
        for _ in reporter.track(jobs, "drawing"):
            next(drawn)
        drawn.close()


def hand_annotation(corners: NDArray[np.float64]) -> bytes:
    """A .mat file as the original has them, for corners (N, 4, 2), x and y in pixels from 0."""
    cells = np.empty((1, len(corners)), object)
    for index, hand in enumerate(corners):
        cells[0, index] = {
            key: np.array([[point[1] + 1, point[0] + 1]])
            for key, point in zip("abcd", hand, strict=True)
        }
    file = io.BytesIO()
    savemat(file, {"boxes": cells})
    # scipy writes the time of day into the header, which is free text.
    return _MAT_HEADER.ljust(_MAT_HEADER_LENGTH) + file.getvalue()[_MAT_HEADER_LENGTH:]


def _jpeg(image: NDArray[np.uint8], quality: int) -> bytes:
    encoded, data = cv2.imencode(
        ".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality]
    )
    assert encoded, "an 8-bit RGB image can be encoded"
    return data.tobytes()


def main() -> None:
    """Write a data set as the command line says; a problem is one line and exit code 2."""
    parser = argparse.ArgumentParser(
        prog="python -m demo.hands", description="Draw hands in the form of the VGG Hand data set."
    )
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    parser.add_argument("--train", type=int, required=True, help="images to train and validate on")
    parser.add_argument("--test", type=int, required=True, help="images to test on")
    parser.add_argument("--seed", type=int, default=0, help="random seed (0)")
    asked = parser.parse_args()
    try:
        write_rendered_hands(
            asked.out, train=asked.train, test=asked.test, seed=asked.seed,
            reporter=ConsoleReporter(quiet=False),
        )  # fmt: skip
    except (YoloPruneError, OSError) as error:
        parser.exit(2, f"error: {error}\n")


if __name__ == "__main__":
    main()
