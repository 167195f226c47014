"""Example images with boxes, as JPEG data that a page can hold."""

import base64
from dataclasses import replace

import cv2
import numpy as np
from torch import Tensor

from yoloprune.data.images import Image
from yoloprune.detection.drawing import class_color, draw_detections
from yoloprune.report.study import Example

SIDE = 400
"""Longer side of a picture in pixels: three stand side by side."""

_QUALITY = 80


def example_pictures(example: Example, names: tuple[str, ...]) -> list[Image]:
    """The image, reduced to `SIDE`, with its ground truth, if known, dense and slim detections."""
    height, width = example.image.shape[:2]
    scale = min(1.0, SIDE / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    small = np.asarray(cv2.resize(example.image, size, interpolation=cv2.INTER_AREA), np.uint8)
    drawn = [
        draw_detections(
            _outlined(small, found.boxes_xyxy * scale, found.labels),
            replace(found, boxes_xyxy=found.boxes_xyxy * scale),
            names,
        )
        for found in (example.dense, example.slim)
    ]
    truth = example.truth
    if truth is None:
        return drawn
    return [_outlined(small, truth.boxes_xyxy * scale, truth.labels), *drawn]


def jpeg_data_uri(image: Image) -> str:
    """An RGB image as the `src` of an `<img>`."""
    quality = [cv2.IMWRITE_JPEG_QUALITY, _QUALITY]
    _, data = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), quality)
    return f"data:image/jpeg;base64,{base64.b64encode(data.tobytes()).decode('ascii')}"


def _outlined(image: Image, boxes: Tensor, labels: Tensor) -> Image:
    """A copy with boxes in lines that are still seen when the picture is small."""
    canvas = image.copy()
    height, width = canvas.shape[:2]
    corners = boxes.round().int().tolist()
    for (left, top, right, bottom), label in zip(corners, labels.tolist(), strict=True):
        last = min(right, width - 1), min(bottom, height - 1)
        cv2.rectangle(canvas, (left, top), last, class_color(label), 2)
    return canvas
