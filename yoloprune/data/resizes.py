"""Ways to fit an image to the size of a network's input, a row each.

Images are uint8 (H, W, C), positions pixels.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import cv2
import numpy as np

from yoloprune.data.images import Image, with_channel_axis
from yoloprune.detection.placement import Placement

_CROPPED = 8 / 7
"""The shorter side of an image in sides of its crop: 256 of 224."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Fitted:
    """A resized image (h, w, C), and where it lies in an input; what is around it is filled.

    `left`, `top` are its own corner, `placement` is that of the image that it was made of.
    """

    image: Image
    placement: Placement
    left: int = 0
    top: int = 0


Resize: TypeAlias = Callable[[Image, int, int], Fitted]
"""Fits an image to a height and a width."""


def stretch(image: Image, height: int, width: int) -> Fitted:
    """Resize bilinearly to height x width, whatever becomes of the aspect ratio."""
    placement = Placement(
        scale=(width / image.shape[1], height / image.shape[0]), offset=(0.0, 0.0)
    )
    return Fitted(image=_resized(image, height, width, cv2.INTER_LINEAR), placement=placement)


def darknet_letterbox(image: Image, height: int, width: int) -> Fitted:
    """Resize bilinearly with the aspect ratio kept, centered, sizes rounded as darknet does."""
    own_height, own_width = image.shape[:2]
    if width * own_height < height * own_width:
        size = own_height * width // own_width, width
    else:
        size = height, own_width * height // own_height
    return _boxed(image, size, ((height - size[0]) // 2, (width - size[1]) // 2))


def letterbox(image: Image, height: int, width: int) -> Fitted:
    """Resize bilinearly with the aspect ratio kept, centered, as Ultralytics does."""
    scale = min(height / image.shape[0], width / image.shape[1])
    size = round(image.shape[0] * scale), round(image.shape[1] * scale)
    return _boxed(image, size, ((height - size[0]) // 2, (width - size[1]) // 2))


def corner(image: Image, height: int, width: int) -> Fitted:
    """Resize bilinearly with the aspect ratio kept, into the left upper corner, as YOLOX does."""
    scale = min(height / image.shape[0], width / image.shape[1])
    return _boxed(image, (int(image.shape[0] * scale), int(image.shape[1] * scale)), (0, 0))


def crop(image: Image, height: int, width: int) -> Fitted:
    """The middle of an image, resized bilinearly: the shorter side is 8/7 of it, as classifiers do.

    That is torchvision's 224 of 256, rounded in the image's own pixels.
    """
    own_height, own_width = image.shape[:2]
    scale = _CROPPED * max(height / own_height, width / own_width)
    rows, columns = max(1, round(height / scale)), max(1, round(width / scale))
    top, left = (own_height - rows) // 2, (own_width - columns) // 2
    inside = np.ascontiguousarray(image[top : top + rows, left : left + columns])
    scale_x, scale_y = width / columns, height / rows
    return Fitted(
        image=_resized(inside, height, width, cv2.INTER_LINEAR),
        placement=Placement(scale=(scale_x, scale_y), offset=(-left * scale_x, -top * scale_y)),
    )


def pad_to_aspect(image: Image, height: int, width: int) -> Fitted:
    """Pad to the aspect of height x width with black, centered, then resize by nearest neighbor.

    The case study's, which knows square networks alone: to a square there.
    """
    own_height, own_width, channels = image.shape
    # The smallest whole size of that aspect that holds the image.
    full_height = max(own_height, -(-own_width * height // width))
    full_width = max(own_width, -(-own_height * width // height))
    left, top = (full_width - own_width) // 2, (full_height - own_height) // 2
    padded = np.zeros((full_height, full_width, channels), np.uint8)
    padded[top : top + own_height, left : left + own_width] = image
    scale_x, scale_y = width / full_width, height / full_height
    return Fitted(
        image=_resized(padded, height, width, cv2.INTER_NEAREST),
        placement=Placement(scale=(scale_x, scale_y), offset=(left * scale_x, top * scale_y)),
    )


RESIZES: Mapping[str, Resize] = {
    "stretch": stretch,
    "letterbox": letterbox,
    "darknet-letterbox": darknet_letterbox,
    "corner": corner,
    "crop": crop,
    "pad-to-aspect": pad_to_aspect,
}


def _boxed(image: Image, size: tuple[int, int], at: tuple[int, int]) -> Fitted:
    """An image resized to a (height, width) and put with its corner at (top, left)."""
    height, width = (max(1, side) for side in size)
    return Fitted(
        image=_resized(image, height, width, cv2.INTER_LINEAR),
        placement=Placement(
            scale=(width / image.shape[1], height / image.shape[0]),
            offset=(float(at[1]), float(at[0])),
        ),
        left=at[1],
        top=at[0],
    )


def _resized(image: Image, height: int, width: int, interpolation: int) -> Image:
    return with_channel_axis(cv2.resize(image, (width, height), interpolation=interpolation))
