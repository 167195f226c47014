"""Telling whether a data set is still the one that something was made with."""

import hashlib
import os

from yoloprune.data.dataset import Dataset
from yoloprune.data.formats.yolo_labels import corners_to_centers


def fingerprint(dataset: Dataset) -> str:
    """A SHA-256 over names and sizes of the image files, and over all boxes and labels.

    Not over the pixels, which would take as long as reading everything. Raises `OSError` where an
    image is missing.
    """
    digest = hashlib.sha256()
    for image in dataset.images:
        # Names are bytes to the system, in whatever encoding.
        digest.update(os.fsencode(image.path.name))
        digest.update(f" {image.path.stat().st_size}\n".encode())
        # As label files have them: so it stays what it was of earlier runs.
        boxes = corners_to_centers(image.boxes)
        digest.update(boxes.tobytes() + image.labels.tobytes())
    return digest.hexdigest()
