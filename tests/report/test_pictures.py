import base64
from dataclasses import replace

import cv2
import numpy as np
import torch

from tests.report import studies
from yoloprune.evaluation.average_precision import GroundTruth
from yoloprune.report.pictures import (
    FALSE_ALARM,
    FOUND,
    HIT,
    MISS,
    SIDE,
    example_pictures,
    jpeg_data_uri,
)
from yoloprune.report.study import Example

NOTHING = studies.detections(torch.zeros(0, 4))


def gray(height: int, width: int, truth: torch.Tensor | None) -> Example:
    """A gray image in which nothing is detected."""
    labels = torch.zeros(0 if truth is None else len(truth), dtype=torch.int64)
    return Example(
        image=np.full((height, width, 3), 128, np.uint8),
        truth=None if truth is None else GroundTruth(boxes_xyxy=truth, labels=labels),
        dense=NOTHING,
        slim=NOTHING,
    )


def colors(image: np.ndarray) -> set[tuple[int, ...]]:
    return set(map(tuple, image.reshape(-1, 3).tolist()))


def test_a_large_image_is_reduced_and_its_boxes_with_it() -> None:
    example = gray(4 * SIDE, 2 * SIDE, torch.tensor([[100.0, 200.0, 200.0, 400.0]]))
    dense, slim = example_pictures(example)
    assert dense.image.shape == slim.image.shape == (SIDE, SIDE // 2, 3)
    assert tuple(dense.image[50, 25]) == tuple(dense.image[99, 50]) == MISS
    assert tuple(dense.image[75, 37]) == (128, 128, 128)
    assert dense.caption == "0 of 1 found"
    assert (example.image == 128).all()


def test_a_small_image_keeps_its_size_and_without_truth_nothing_is_judged() -> None:
    example = gray(30, 40, None)
    assert [picture.image.shape for picture in example_pictures(example)] == [(30, 40, 3)] * 2
    found = replace(example, dense=studies.detections(torch.tensor([[5.0, 5.0, 20.0, 20.0]])))
    dense, slim = example_pictures(found)
    assert colors(dense.image) == {(128, 128, 128), FOUND}
    assert (dense.caption, slim.caption) == ("1 found", "0 found")


def test_hits_misses_and_false_alarms_are_told_apart() -> None:
    truth = torch.tensor([[10.0, 10.0, 60.0, 60.0], [80.0, 10.0, 120.0, 60.0]])
    wrong = torch.tensor([[20.0, 70.0, 60.0, 110.0]])
    # The same object found twice is one hit, and one false alarm.
    twice = torch.cat((truth[:1], truth[:1] + 1))
    example = replace(
        gray(120, 140, truth),
        dense=studies.detections(truth),
        slim=studies.detections(torch.cat((wrong, twice))),
    )
    dense, slim = example_pictures(example)
    assert colors(dense.image) == {(128, 128, 128), HIT}
    assert colors(slim.image) == {(128, 128, 128), HIT, MISS, FALSE_ALARM}
    assert tuple(slim.image[10, 80]) == MISS and tuple(slim.image[90, 40]) == FALSE_ALARM
    assert dense.caption == "2 of 2 found"
    assert slim.caption == "1 of 2 found, 2 false"


def test_a_picture_in_the_page_is_a_jpeg_of_the_same_colors() -> None:
    red = np.zeros((16, 24, 3), np.uint8)
    red[:, :, 0] = 200
    start, data = jpeg_data_uri(red).split(",")
    assert start == "data:image/jpeg;base64"
    decoded = cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_COLOR)
    assert decoded is not None
    assert np.abs(decoded[:, :, ::-1].astype(int) - red).max() <= 4
