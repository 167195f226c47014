import base64

import cv2
import numpy as np
import torch

from tests.report import studies
from yoloprune.detection.drawing import class_color
from yoloprune.evaluation.average_precision import GroundTruth
from yoloprune.report.pictures import SIDE, example_pictures, jpeg_data_uri
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


def test_a_large_image_is_reduced_and_its_boxes_with_it() -> None:
    example = gray(2 * SIDE, SIDE, torch.tensor([[100.0, 200.0, 200.0, 400.0]]))
    truth, dense, slim = example_pictures(example, ("hand",))
    assert truth.shape == dense.shape == slim.shape == (SIDE, SIDE // 2, 3)
    assert tuple(truth[150, 50]) == tuple(truth[100, 75]) == class_color(0)
    assert tuple(truth[150, 75]) == tuple(truth[150, 25]) == (128, 128, 128)
    assert (dense == 128).all() and (slim == 128).all()
    assert (example.image == 128).all()


def test_a_small_image_keeps_its_size_and_without_truth_there_are_two() -> None:
    pictures = example_pictures(gray(30, 40, None), ("hand",))
    assert [picture.shape for picture in pictures] == [(30, 40, 3)] * 2


def test_the_networks_detections_are_in_their_own_pictures() -> None:
    example = studies.example(0)
    truth, dense, slim = example_pictures(example, ("hand",))
    # The slim network misses the object on the left.
    assert (truth[50, :65] != example.image[50, :65]).any()
    assert (dense[50, :65] != example.image[50, :65]).any()
    assert (slim[50, :60] == example.image[50, :60]).all()


def test_a_picture_in_the_page_is_a_jpeg_of_the_same_colors() -> None:
    red = np.zeros((16, 24, 3), np.uint8)
    red[:, :, 0] = 200
    start, data = jpeg_data_uri(red).split(",")
    assert start == "data:image/jpeg;base64"
    decoded = cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_COLOR)
    assert decoded is not None
    assert np.abs(decoded[:, :, ::-1].astype(int) - red).max() <= 4
