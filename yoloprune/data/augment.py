"""Training samples: images with boxes, augmented, at the network's input size.

Images are uint8 (H, W, C), RGB or gray; boxes are xyxy in pixels, (0, 0) being the outer corner of
the first pixel. Every random choice comes from one generator a sample, so a sample depends on its
seed alone, not on the order or the process in which it is made.

Gray images are read gray and augmented so, as darknet does: training sees the grays that detection
reads, and only the brightness changes, as hue and saturation are nothing to a gray camera.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from yoloprune.data.images import Image, with_channel_axis

GRAY = 128
SMALLEST_SIDE = 2.0
"""Boxes with a side of less than this many pixels, after scaling and cutting, are dropped."""

SMALLEST_SHARE = 0.2
"""Boxes of which less than this share of the area is left are dropped."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sample:
    """An image with N boxes (N, 4) float32 xyxy in pixels and labels (N,) int64."""

    image: Image
    boxes: NDArray[np.float32]
    labels: NDArray[np.int64]


Fetch: TypeAlias = Callable[[int], Sample]
"""Gives the sample of an index as it is in the data set."""


def plain_sample(sample: Sample, size: tuple[int, int]) -> Sample:
    """The sample fitted into (height, width), aspect ratio kept, centered on gray.

    Boxes with too small a side are dropped.
    """
    height, width = size
    own_height, own_width = sample.image.shape[:2]
    scale = min(width / own_width, height / own_height)
    shift = ((width - own_width * scale) / 2, (height - own_height * scale) / 2)
    return _placed(sample, size, scale, shift)


def augmented_sample(
    fetch: Fetch, index: int, count: int, size: tuple[int, int], mosaic: float, seed: Sequence[int]
) -> Sample:
    """An augmented training sample of (height, width), a function of its arguments alone.

    One image at a random scale and place, or with probability `mosaic` four of them, the other
    three drawn from the first `count` samples; then flipped and recolored at random. Boxes are cut
    at the border of the image or of their tile; those of which too little is left are dropped.
    """
    generator = np.random.default_rng(tuple(seed))
    if generator.random() < mosaic:
        others = generator.integers(0, count, 3).tolist()
        sample = _mosaic([fetch(i) for i in (index, *others)], size, generator)
    else:
        sample = _scattered(fetch(index), size, generator)
    return _recolored(sample, int(generator.integers(0, 2**31)))


def _placed(
    sample: Sample, size: tuple[int, int], scale: float, shift: tuple[float, float]
) -> Sample:
    """The sample scaled and moved by `shift` = (x, y) onto gray of (height, width), then cut."""
    height, width = size
    image, scales = sample.image, np.array([scale, scale])
    # Area-like results when shrinking need a blur first; INTER_AREA does not exist for warps.
    if scale < 0.75:
        before = np.array([image.shape[1], image.shape[0]])
        smaller = np.maximum(1, np.rint(before * scale).astype(int))
        image = with_channel_axis(cv2.resize(image, smaller.tolist(), interpolation=cv2.INTER_AREA))
        # What rounding to whole pixels has left over.
        scales = before * scale / smaller
    # Boxes count from the edge of the first pixel, the warp from its center.
    offset = np.array(shift) + 0.5 * scales - 0.5
    matrix = np.column_stack((np.diag(scales), offset))
    warped = cv2.warpAffine(
        image, matrix, (width, height), flags=cv2.INTER_LINEAR, borderValue=(GRAY, GRAY, GRAY)
    )
    boxes = sample.boxes * scale + np.array([*shift, *shift], np.float32)
    return _cut(with_channel_axis(warped), boxes, sample.labels)


def _cut(image: Image, boxes: NDArray[np.float32], labels: NDArray[np.int64]) -> Sample:
    """Boxes clipped to the image; those of which too little is left are dropped."""
    height, width = image.shape[:2]
    limits = np.array([width, height, width, height], np.float32)
    clipped = np.clip(boxes, 0, limits).astype(np.float32)
    sides = clipped[:, 2:] - clipped[:, :2]
    before = np.maximum((boxes[:, 2:] - boxes[:, :2]).prod(axis=1), 1e-6)
    keep = (sides >= SMALLEST_SIDE).all(axis=1) & (sides.prod(axis=1) >= SMALLEST_SHARE * before)
    return Sample(image=image, boxes=clipped[keep], labels=labels[keep])


def _scattered(sample: Sample, size: tuple[int, int], generator: np.random.Generator) -> Sample:
    """The sample at a random scale and place."""
    height, width = size
    own_height, own_width = sample.image.shape[:2]
    scale = min(width / own_width, height / own_height) * float(
        np.exp(generator.uniform(-0.5, 0.5))
    )
    slack = (width - own_width * scale, height - own_height * scale)
    shift = (slack[0] * generator.random(), slack[1] * generator.random())
    return _placed(sample, size, scale, shift)


def _mosaic(
    samples: Sequence[Sample], size: tuple[int, int], generator: np.random.Generator
) -> Sample:
    """Four samples around a random center (A. Bochkovskiy et al., "YOLOv4", 2020)."""
    height, width = size
    center_x = int(width * generator.uniform(0.3, 0.7))
    center_y = int(height * generator.uniform(0.3, 0.7))
    canvas = np.full((height, width, samples[0].image.shape[2]), GRAY, np.uint8)
    boxes, labels = [], []
    spans = [
        (left, top, right, bottom)
        for top, bottom in ((0, center_y), (center_y, height))
        for left, right in ((0, center_x), (center_x, width))
    ]
    for sample, (left, top, right, bottom) in zip(samples, spans, strict=True):
        tile = _scattered(sample, (bottom - top, right - left), generator)
        canvas[top:bottom, left:right] = tile.image
        boxes.append(tile.boxes + np.array([left, top, left, top], np.float32))
        labels.append(tile.labels)
    return Sample(image=canvas, boxes=np.concatenate(boxes), labels=np.concatenate(labels))


def _recolored(sample: Sample, seed: int) -> Sample:
    """The sample after albumentations: flip, hue, saturation and value, blur, JPEG."""
    pipeline = _pipeline(is_gray=sample.image.shape[2] == 1)
    pipeline.set_random_seed(seed)
    result = pipeline(
        image=sample.image, bboxes=sample.boxes, labels=sample.labels.astype(np.float32)
    )
    boxes = np.asarray(result["bboxes"], np.float32).reshape(-1, 4)
    labels = np.asarray(result["labels"], np.int64).reshape(-1)
    return _cut(np.asarray(result["image"], np.uint8), boxes, labels)


@cache
def _pipeline(*, is_gray: bool) -> Any:
    # albumentations asks the network for its newest version at import, and takes seconds to import.
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
    import albumentations

    return albumentations.Compose(
        [
            albumentations.HorizontalFlip(p=0.5),
            albumentations.HueSaturationValue(
                hue_shift_limit=0 if is_gray else 8,
                sat_shift_limit=0 if is_gray else 60,
                val_shift_limit=45,
                p=0.8,
            ),
            albumentations.OneOf(
                [
                    albumentations.Blur(blur_limit=3),
                    # Symmetric: otherwise it moves the image to one side under its boxes.
                    albumentations.MotionBlur(
                        blur_limit=5, allow_shifted=False, direction_range=(0.0, 0.0)
                    ),
                ],
                p=0.1,
            ),
            albumentations.ImageCompression(quality_range=(40, 90), p=0.1),
        ],
        bbox_params=albumentations.BboxParams(
            format="pascal_voc", label_fields=["labels"], clip=True, min_area=1.0
        ),
    )
