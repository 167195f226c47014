"""A data set of painted rectangles, small enough to train on in a test."""

from pathlib import Path

import cv2
import numpy as np


def paint(
    root: Path,
    *,
    train: int,
    test: int,
    side: int = 64,
    size: tuple[int, int] | None = None,
    seed: int = 0,
) -> Path:
    """Write `train` and `test` images with one to three bright rectangles each, as YOLO text.

    They are squares of a side, or of a size (height, width).
    """
    generator = np.random.default_rng(seed)
    height, width = size or (side, side)
    side = min(height, width)
    for split, count in (("train", train), ("test", test)):
        (root / "images" / split).mkdir(parents=True)
        (root / "labels" / split).mkdir(parents=True)
        for number in range(count):
            image = generator.integers(0, 60, (height, width, 3)).astype(np.uint8)
            lines = []
            for _ in range(generator.integers(1, 4)):
                w, h = generator.integers(side // 6, side // 3, 2)
                x, y = generator.integers(0, width - w), generator.integers(0, height - h)
                image[y : y + h, x : x + w] = (40, 220, 240)
                box = ((x + w / 2) / width, (y + h / 2) / height, w / width, h / height)
                lines.append("0 " + " ".join(f"{v:.6f}" for v in box))
            cv2.imwrite(str(root / "images" / split / f"{number}.png"), image)
            text = "\n".join(lines) + "\n"
            (root / "labels" / split / f"{number}.txt").write_text(text)
    return root
