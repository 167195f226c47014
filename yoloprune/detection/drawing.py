"""Detections drawn onto pictures."""

import colorsys
from collections.abc import Sequence
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from yoloprune.detection.decode import Detections

Colour: TypeAlias = tuple[int, int, int]

_FONT = cv2.FONT_HERSHEY_SIMPLEX


def draw_detections(
    image: NDArray[np.uint8], detections: Detections, names: Sequence[str]
) -> NDArray[np.uint8]:  # (H, W, 3) -> (H, W, 3)
    """A copy of an image with each box, its class name and its score; the best drawn last.

    Lines and letters grow with the image. Boxes are in image pixels.
    """
    canvas = np.ascontiguousarray(image).copy()
    height, width = canvas.shape[:2]
    side = min(height, width)
    line = max(1, round(side / 250))
    for box, score, label in zip(
        detections.boxes_xyxy.flip(0).round().int().tolist(),
        detections.scores.flip(0).tolist(),
        detections.labels.flip(0).tolist(),
        strict=True,
    ):
        left, top, right, bottom = box
        # A box that ends at the border would have its line just outside.
        right, bottom = min(right, width - 1), min(bottom, height - 1)
        colour = class_colour(label)
        cv2.rectangle(canvas, (left, top), (right, bottom), colour, line)
        _write(canvas, f"{names[label]} {score:.2f}", (left, top), colour, max(0.4, side / 900))
    return canvas


def class_colour(label: int) -> Colour:
    """A bright colour for a class; neighbouring labels get distant hues."""
    red, green, blue = colorsys.hsv_to_rgb(label * 0.618034 % 1, 0.85, 1.0)
    return round(red * 255), round(green * 255), round(blue * 255)


def _write(
    canvas: NDArray[np.uint8], text: str, corner: tuple[int, int], colour: Colour, scale: float
) -> None:
    """Text on a filled bar above the corner, or below it where there is no room above."""
    thickness = max(1, round(scale * 1.5))
    (width, height), below = cv2.getTextSize(text, _FONT, scale, thickness)
    bar = height + below + thickness
    left = max(0, min(corner[0], canvas.shape[1] - width))
    top = corner[1] - bar if corner[1] >= bar else corner[1]
    cv2.rectangle(canvas, (left, top), (left + width, top + bar), colour, cv2.FILLED)
    luminance = 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2]
    ink = (0, 0, 0) if luminance > 110 else (255, 255, 255)
    base = (left, top + height + thickness)
    cv2.putText(canvas, text, base, _FONT, scale, ink, thickness, cv2.LINE_AA)
