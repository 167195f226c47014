"""Example images with boxes, as JPEG data that a page can hold."""

import base64
from dataclasses import dataclass
from typing import TypeAlias

import cv2
import numpy as np
import torch
from torch import Tensor

from yoloprune.data.images import Image
from yoloprune.detection.boxes import box_iou
from yoloprune.detection.decode import Detections
from yoloprune.evaluation.average_precision import GroundTruth, nearest_matches
from yoloprune.report.study import Example

SIDE = 240
"""Longer side of a picture in pixels: six stand side by side."""

Color: TypeAlias = tuple[int, int, int]

HIT: Color = (64, 224, 96)
MISS: Color = (255, 176, 32)
FALSE_ALARM: Color = (255, 72, 96)
FOUND: Color = (96, 190, 255)
"""Of what is detected where nobody knows what is there."""

_QUALITY = 80
_DASH = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """An image (H, W, 3) with the boxes of one network, and what they are in words."""

    image: Image
    caption: str


def example_pictures(example: Example) -> tuple[Picture, Picture]:
    """The image, reduced to `SIDE`, with the detections of the original and of the slim network.

    Hits have whole lines, false alarms are crossed out, objects that were missed have dashed lines.
    """
    height, width = example.image.shape[:2]
    scale = min(1.0, SIDE / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    small = np.asarray(cv2.resize(example.image, size, interpolation=cv2.INTER_AREA), np.uint8)
    dense, slim = (
        _picture(small, scale, found, example.truth) for found in (example.dense, example.slim)
    )
    return dense, slim


def jpeg_data_uri(image: Image) -> str:
    """An RGB image as the `src` of an `<img>`."""
    quality = [cv2.IMWRITE_JPEG_QUALITY, _QUALITY]
    _, data = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), quality)
    return f"data:image/jpeg;base64,{base64.b64encode(data.tobytes()).decode('ascii')}"


def _picture(image: Image, scale: float, found: Detections, truth: GroundTruth | None) -> Picture:
    canvas = image.copy()
    if truth is None:
        for box in _corners(found.boxes_xyxy * scale, canvas):
            cv2.rectangle(canvas, box[:2], box[2:], FOUND, 2)
        return Picture(image=canvas, caption=f"{len(found.labels)} found")
    hits, missed = _judged(found, truth)
    for box, gone in zip(_corners(truth.boxes_xyxy * scale, canvas), missed, strict=True):
        if gone:
            _dashed(canvas, box)
    for box, hit in zip(_corners(found.boxes_xyxy * scale, canvas), hits, strict=True):
        cv2.rectangle(canvas, box[:2], box[2:], HIT if hit else FALSE_ALARM, 2)
        if not hit:
            cv2.line(canvas, box[:2], box[2:], FALSE_ALARM, 2)
    wrong = len(hits) - sum(hits)
    caption = f"{sum(hits)} of {len(missed)} found" + (f", {wrong} false" if wrong else "")
    return Picture(image=canvas, caption=caption)


def _judged(found: Detections, truth: GroundTruth) -> tuple[list[bool], list[bool]]:
    """Which detections are hits, and which objects were missed."""
    order = found.scores.argsort(descending=True, stable=True)
    ranked = Detections(
        boxes_xyxy=found.boxes_xyxy[order], scores=found.scores[order], labels=found.labels[order]
    )
    hits = np.zeros(len(order), np.bool_)
    hits[order.numpy()] = nearest_matches(ranked, truth)[:, 0]
    missed = np.ones(len(truth.labels), np.bool_)
    if hits.any():
        overlaps = box_iou(found.boxes_xyxy, truth.boxes_xyxy.to(found.boxes_xyxy))
        overlaps[found.labels[:, None] != truth.labels[None]] = -1
        missed[overlaps[torch.from_numpy(hits)].argmax(dim=1).numpy()] = False
    return hits.tolist(), missed.tolist()


def _corners(boxes: Tensor, image: Image) -> list[list[int]]:
    """Left, top, right, bottom in whole pixels of the image."""
    height, width = image.shape[:2]
    limits = torch.tensor([width - 1, height - 1, width - 1, height - 1])
    corners: list[list[int]] = torch.minimum(boxes.round().int().clamp(min=0), limits).tolist()
    return corners


def _dashed(canvas: Image, box: list[int]) -> None:
    left, top, right, bottom = box
    for start in range(left, right, 2 * _DASH):
        end = min(start + _DASH, right)
        for y in (top, bottom):
            cv2.line(canvas, (start, y), (end, y), MISS, 2)
    for start in range(top, bottom, 2 * _DASH):
        end = min(start + _DASH, bottom)
        for x in (left, right):
            cv2.line(canvas, (x, start), (x, end), MISS, 2)
