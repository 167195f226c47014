from itertools import combinations

import numpy as np
import pytest
import torch

from yoloprune.detection.decode import Detections
from yoloprune.detection.drawing import class_color, draw_detections, side_by_side

NAMES = ["hand", "foot"]


def detections(*boxes: tuple[float, float, float, float]) -> Detections:
    return Detections(
        boxes_xyxy=torch.tensor(boxes).reshape(-1, 4),
        scores=torch.linspace(0.9, 0.5, len(boxes)),
        labels=torch.arange(len(boxes)) % 2,
    )


def test_the_box_is_drawn_in_its_color_and_the_image_is_left_alone() -> None:
    image = np.zeros((300, 400, 3), np.uint8)
    drawn = draw_detections(image, detections((50, 100, 250, 200)), NAMES)
    assert not image.any()
    for row, column in ((150, 50), (150, 250), (200, 150), (100, 240)):
        assert tuple(drawn[row, column]) == class_color(0)
    assert not drawn[150, 100:200].any()
    assert drawn[80:99, 50:120].any()


def test_lines_at_the_border_stay_visible() -> None:
    drawn = draw_detections(np.zeros((300, 400, 3), np.uint8), detections((0, 0, 400, 300)), NAMES)
    for row, column in ((150, 0), (150, 399), (299, 200)):
        assert tuple(drawn[row, column]) == class_color(0)


def test_text_grows_with_the_image() -> None:
    heights = []
    for side in (200, 2000):
        image = np.zeros((side, side, 3), np.uint8)
        box = (side * 0.2, side * 0.5, side * 0.2 + 1, side * 0.5 + 1)
        drawn = draw_detections(image, detections(box), NAMES)
        heights.append(np.flatnonzero(drawn.any(axis=(1, 2))).size)
    assert heights[1] > 3 * heights[0]


def test_labels_are_drawn_over_boxes_and_beside_each_other() -> None:
    image = np.zeros((300, 400, 3), np.uint8)
    boxes = (100, 100, 300, 250), (102, 103, 298, 248), (104, 80, 296, 246)
    drawn = draw_detections(image, detections(*boxes), NAMES)
    filled = [(drawn == class_color(label)).all(axis=2).sum() for label in (0, 1)]
    alone = draw_detections(image, detections(boxes[0]), NAMES)
    without = draw_detections(image, detections(boxes[0]), ["", ""])
    label = (alone == class_color(0)).all(axis=2).sum() - 2 * (200 + 150)
    # Two of class 0 and one of class 1: all three bars are seen whole, letters apart.
    assert filled[0] > 2 * (2 * (192 + 145)) + 1.8 * label
    assert filled[1] > 0.9 * label
    assert (without != alone).any()


def test_a_name_can_have_any_letters() -> None:
    image = np.zeros((300, 400, 3), np.uint8)
    pictures = [
        draw_detections(image, detections((50, 100, 250, 200)), [name, ""])
        for name in ("Fu\u00df", "Fu\u1e9e", "\u0440\u0443\u043a\u0430", "a\nb\x1b[0m", "")
    ]
    for first, second in combinations(pictures, 2):
        assert (first != second).any()


def test_emphasized_boxes_have_thicker_lines() -> None:
    image = np.zeros((500, 500, 3), np.uint8)
    found = detections((50, 100, 250, 200))
    thin, thick = (draw_detections(image, found, NAMES, [alone]) for alone in (False, True))
    assert not thin[150, 52].any() and tuple(thick[150, 52]) == class_color(0)


def test_pictures_stand_side_by_side_under_their_titles() -> None:
    black, gray = np.zeros((60, 80, 3), np.uint8), np.full((60, 80, 3), 128, np.uint8)
    row = side_by_side([black, gray], ["dense", "a title that is much longer than its picture"])
    bar = row.shape[0] - 60
    assert bar > 10 and row.shape[1] > 160
    assert (row[bar:, :80] == black).all() and (row[bar:, -80:] == gray).all()
    for title in (row[:bar, :80], row[:bar, -80:]):
        assert (title < 100).any()
    assert (row[:, 80:-80] > 200).all()


@pytest.mark.parametrize("shape", [(1, 1), (8, 300), (300, 8)])
def test_any_size_can_be_drawn_on(shape: tuple[int, int]) -> None:
    image = np.zeros((*shape, 3), np.uint8)
    drawn = draw_detections(image, detections((0, 0, shape[1], shape[0]), (0, 0, 1, 1)), NAMES)
    assert drawn.shape == image.shape
    assert drawn.any()


def test_neighboring_classes_look_different() -> None:
    colors = np.array([class_color(label) for label in range(20)], int)
    assert np.abs(np.diff(colors, axis=0)).sum(axis=1).min() > 150
