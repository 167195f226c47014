import numpy as np
import pytest
import torch

from yoloprune.detection.decode import Detections
from yoloprune.detection.drawing import class_colour, draw_detections

NAMES = ["hand", "foot"]


def detections(*boxes: tuple[float, float, float, float]) -> Detections:
    return Detections(
        boxes_xyxy=torch.tensor(boxes).reshape(-1, 4),
        scores=torch.linspace(0.9, 0.5, len(boxes)),
        labels=torch.arange(len(boxes)) % 2,
    )


def test_the_box_is_drawn_in_its_colour_and_the_image_is_left_alone() -> None:
    image = np.zeros((300, 400, 3), np.uint8)
    drawn = draw_detections(image, detections((50, 100, 250, 200)), NAMES)
    assert not image.any()
    for row, column in ((150, 50), (150, 250), (200, 150), (100, 240)):
        assert tuple(drawn[row, column]) == class_colour(0)
    assert not drawn[150, 100:200].any()
    assert drawn[80:99, 50:120].any()


def test_lines_at_the_border_stay_visible() -> None:
    drawn = draw_detections(np.zeros((300, 400, 3), np.uint8), detections((0, 0, 400, 300)), NAMES)
    for row, column in ((150, 0), (150, 399), (299, 200)):
        assert tuple(drawn[row, column]) == class_colour(0)


def test_text_grows_with_the_image() -> None:
    heights = []
    for side in (200, 2000):
        image = np.zeros((side, side, 3), np.uint8)
        box = (side * 0.2, side * 0.5, side * 0.2 + 1, side * 0.5 + 1)
        drawn = draw_detections(image, detections(box), NAMES)
        heights.append(np.flatnonzero(drawn.any(axis=(1, 2))).size)
    assert heights[1] > 3 * heights[0]


@pytest.mark.parametrize("shape", [(1, 1), (8, 300), (300, 8)])
def test_any_size_can_be_drawn_on(shape: tuple[int, int]) -> None:
    image = np.zeros((*shape, 3), np.uint8)
    drawn = draw_detections(image, detections((0, 0, shape[1], shape[0]), (0, 0, 1, 1)), NAMES)
    assert drawn.shape == image.shape
    assert drawn.any()


def test_neighbouring_classes_look_different() -> None:
    colours = np.array([class_colour(label) for label in range(20)], int)
    assert np.abs(np.diff(colours, axis=0)).sum(axis=1).min() > 150
