"""One image and one box: what each protocol makes of it, by hand."""

import numpy as np
import pytest
import torch

from yoloprune.detection.decode import Predictions
from yoloprune.detection.placement import Placement
from yoloprune.errors import UsageError
from yoloprune.evaluation.average_precision import GroundTruth
from yoloprune.evaluation.protocols import PROTOCOLS, Protocol, Sample, coco, protocol_named


def judged(protocol: Protocol, width: float, objectness: float) -> list[bool]:
    """Whether a box of 20 rows and so many columns is the object of 20x20, and counts at all.

    It lies at the corner of an image of 64x64 pixels, which the network sees half as large.
    """
    sample = Sample(
        fitted=np.zeros((3, 32, 32), np.float32),
        placement=Placement(scale=(0.5, 0.5), offset=(0, 0)),
        size=(64, 64),
        truth=GroundTruth(boxes_xyxy=torch.tensor([[0.0, 0, 20, 20]]), labels=torch.tensor([0])),
    )
    predictions = Predictions(
        boxes=torch.tensor([[[0.0, 0, width / 2, 10]]]),
        objectness=torch.tensor([[objectness]]),
        classes=torch.ones(1, 1, 1),
    )
    (found,) = protocol.judge([sample], predictions)
    return [bool(flag) for flag in np.asarray(found.correct)[:, 0]]


@pytest.mark.parametrize("name", PROTOCOLS)
def test_a_protocol_is_found_by_its_name(name: str) -> None:
    assert protocol_named(name).name == name
    with pytest.raises(UsageError, match="protocol 'voc' is not known: choose one of case-study"):
        protocol_named("voc")


def test_half_the_object_is_enough_and_less_is_not() -> None:
    for protocol in PROTOCOLS.values():
        assert judged(protocol, 14, 0.9) == [True]
        assert judged(protocol, 6, 0.9) == [False]


def test_iou_counts_corner_pixels_in_the_case_study_alone() -> None:
    # 9.4 / 20 of the area; (4.7 + 1) / (10 + 1) with corner pixels, in the input's pixels.
    assert judged(PROTOCOLS["case-study"], 9.4, 0.9) == [True]
    assert judged(PROTOCOLS["coco"], 9.4, 0.9) == [False]


def test_scores_below_the_threshold_do_not_count() -> None:
    assert judged(coco(), 20, 0.0051) == [True]
    assert judged(coco(), 20, 0.0049) == []
    assert judged(coco(threshold=0.5), 20, 0.4) == []
    assert judged(PROTOCOLS["case-study"], 20, 0.011) == [True]
    assert judged(PROTOCOLS["case-study"], 20, 0.009) == []
