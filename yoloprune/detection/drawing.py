"""Detections drawn onto pictures."""

import colorsys
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from yoloprune.detection.decode import Detections
from yoloprune.detection.label_layout import Rectangle, place_labels

Color: TypeAlias = tuple[int, int, int]

_SMALLEST_LETTERS = 11
"""Font size in pixels under which labels can hardly be read."""

_GAP = 4
"""Pixels between two pictures side by side."""


def draw_detections(
    image: NDArray[np.uint8],
    detections: Detections,
    names: Sequence[str],
    emphasized: Sequence[bool] = (),
) -> NDArray[np.uint8]:  # (H, W, 3) -> (H, W, 3)
    """A copy of an image with each box, its class name and its score; the best drawn last.

    Lines and letters grow with the image. No label covers another one or leaves the image; one that
    stands away from its box has a line to it, and one for which there is no room is left out. The
    `emphasized` boxes have lines twice as thick. Boxes are in image pixels.
    """
    height, width = image.shape[:2]
    line = max(1, round(min(height, width) / 250))
    canvas = Image.fromarray(np.ascontiguousarray(image))
    draw = ImageDraw.Draw(canvas)
    font = _font(_letters(height, width))
    boxes = [_inside(box, width, height) for box in detections.boxes_xyxy.round().int().tolist()]
    labels = detections.labels.tolist()
    texts = [
        f"{_printable(names[label])} {score:.2f}"
        for label, score in zip(labels, detections.scores.tolist(), strict=True)
    ]
    for number in reversed(range(len(boxes))):
        thickness = 2 * line if number < len(emphasized) and emphasized[number] else line
        left, top, right, bottom = boxes[number]
        color = class_color(labels[number])
        # A box that ends at the border would have its line just outside.
        last = min(right, width - 1), min(bottom, height - 1)
        draw.rectangle((left, top, *last), outline=color, width=thickness)
    places = place_labels(boxes, [_text_size(text, font) for text in texts], (width, height))
    for box, place, label, text in zip(boxes, places, labels, texts, strict=True):
        if place is not None:
            _write(draw, text, place, box, class_color(label), font, line)
    return np.asarray(canvas).copy()


def side_by_side(
    pictures: Sequence[NDArray[np.uint8]], titles: Sequence[str]
) -> NDArray[np.uint8]:  # (H, W, 3) each -> (H + title, about N * W, 3)
    """Pictures of one size in a row, each under its title; too long a title is cut."""
    height, width = pictures[0].shape[:2]
    font = _font(_letters(height, width))
    bar = _text_size("", font)[1] + _GAP
    row = Image.new(
        "RGB", (len(pictures) * (width + _GAP) - _GAP, bar + height), color=(255, 255, 255)
    )
    draw = ImageDraw.Draw(row)
    for number, (picture, title) in enumerate(zip(pictures, titles, strict=True)):
        left = number * (width + _GAP)
        draw.text((left + _GAP, _GAP), _fitting(title, font, width - _GAP), (0, 0, 0), font)
        row.paste(Image.fromarray(np.ascontiguousarray(picture)), (left, bar))
    return np.asarray(row).copy()


def class_color(label: int) -> Color:
    """A bright color for a class; neighboring labels get distant hues."""
    red, green, blue = colorsys.hsv_to_rgb(label * 0.618034 % 1, 0.85, 1.0)
    return round(red * 255), round(green * 255), round(blue * 255)


def _inside(box: Sequence[int], width: int, height: int) -> Rectangle:
    """A box with at least a pixel of the picture, so that its line can be seen."""
    left, top = min(max(box[0], 0), width - 1), min(max(box[1], 0), height - 1)
    return left, top, min(max(box[2], left + 1), width), min(max(box[3], top + 1), height)


def _letters(height: int, width: int) -> int:
    return max(_SMALLEST_LETTERS, round(min(height, width) / 42))


@cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    import matplotlib

    # It comes with matplotlib, and knows more letters than OpenCV's fonts.
    path = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
    return ImageFont.truetype(str(path), size)


def _printable(name: str) -> str:
    return "".join(
        letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in name
    )


def _text_size(text: str, font: ImageFont.FreeTypeFont) -> tuple[int, int]:
    ascent, descent = font.getmetrics()
    return round(font.getlength(text)) + 4, ascent + descent


def _fitting(text: str, font: ImageFont.FreeTypeFont, width: int) -> str:
    while text and font.getlength(text) > width:
        text = text[:-1]
    return text


def _write(
    draw: ImageDraw.ImageDraw,
    text: str,
    place: Rectangle,
    box: Rectangle,
    color: Color,
    font: ImageFont.FreeTypeFont,
    line: int,
) -> None:
    """Text on a filled bar, with a line to its box if it stands elsewhere."""
    left, top, right, bottom = place
    x, y = min(max(left, box[0]), box[2] - 1), min(max(top, box[1]), box[3] - 1)
    if not (left <= x <= right and top <= y <= bottom):
        start = min(max(x, left), right - 1), min(max(y, top), bottom - 1)
        draw.line((*start, x, y), fill=color, width=line)
    draw.rectangle((left, top, right - 1, bottom - 1), fill=color)
    luminance = 0.299 * color[0] + 0.587 * color[1] + 0.114 * color[2]
    ink = (0, 0, 0) if luminance > 110 else (255, 255, 255)
    draw.text((left + 2, top), text, ink, font)
