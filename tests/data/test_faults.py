import time
from pathlib import Path

import numpy as np
import pytest

from yoloprune.data.dataset import Fault, Finding, RawDataset, RawImage
from yoloprune.data.faults import Tally, described, repeated, sound_objects, used_classes
from yoloprune.data.text_files import MOST_CLASSES


def test_boxes_written_twice_are_found_in_linear_time() -> None:
    boxes = np.random.default_rng(0).random((20_000, 4))
    boxes[:, 2:] += boxes[:, :2]
    labels = np.zeros(len(boxes), np.int64)
    assert not repeated(boxes, labels).any()
    twice = np.concatenate((boxes, boxes[:5_000] + 9e-5))
    start = time.process_time()
    found = repeated(twice, np.zeros(len(twice), np.int64))
    # Comparing every pair would take minutes.
    assert time.process_time() - start < 20
    assert found.tolist() == [False] * 20_000 + [True] * 5_000
    assert not repeated(twice, np.arange(len(twice))).any()


def raw_image(boxes: list[list[float]], labels: list[int]) -> RawImage:
    return RawImage(
        path=Path("a.jpg"),
        source=Path("a.txt"),
        boxes=np.array(boxes, float).reshape(-1, 4),
        labels=np.array(labels, np.int64),
        places=tuple(f"a.txt:{number}" for number in range(1, len(labels) + 1)),
    )


def test_a_tally_keeps_the_first_of_each_and_the_order_of_reports() -> None:
    tally = Tally()
    for fault, where in ((Fault.OUTSIDE, "b:1"), (Fault.NO_AREA, "b:2"), (Fault.OUTSIDE, "c:7")):
        tally.add([Finding(fault=fault, where=where, text="odd")])
    first, second = tally.remarks()
    assert (first.fault, first.count) == (Fault.NO_AREA, 1)
    assert (second.fault, second.count, second.first.where) == (Fault.OUTSIDE, 2, "b:1")
    assert (tally.count(Fault.OUTSIDE), tally.count(Fault.POLYGON)) == (2, 0)
    assert described(second) == "2 boxes leave the image and are clipped (first: b:1: odd)"


def test_classes_in_use_end_with_the_highest_that_is_no_damage() -> None:
    images = (raw_image([[0, 0, 1, 1]] * 3, [4, -1, MOST_CLASSES]), raw_image([], []))
    splits = {"train": images, "val": (raw_image([[0, 0, 1, 1]], [2]),)}
    assert used_classes(RawDataset(path=Path("d"), names=None, splits=splits)) == 5
    assert used_classes(RawDataset(path=Path("d"), names=None, splits={"all": images[1:]})) == 0


def test_what_can_be_used_of_an_image_and_what_is_said_of_the_rest() -> None:
    image = raw_image(
        [[0.1, 0.1, 0.4, 0.4], [-0.2, 0, 0.5, 1.0005], [0.5, 0.5, 0.5, 0.9], [0, 0, 1, 1]],
        [0, 1, 0, 9],
    )
    boxes, labels, places, findings = sound_objects(image, classes=2)
    assert boxes == pytest.approx(np.array([[0.1, 0.1, 0.4, 0.4], [0, 0, 0.5, 1]]))
    assert (labels.tolist(), places) == ([0, 1], ["a.txt:1", "a.txt:2"])
    assert [(found.fault, found.where) for found in findings] == [
        (Fault.UNKNOWN_CLASS, "a.txt:4"),
        (Fault.NO_AREA, "a.txt:3"),
        (Fault.OUTSIDE, "a.txt:2"),
    ]
    *_, findings = sound_objects(raw_image([[0, 0, 1, 1]], [3]), classes=2)
    assert [found.fault for found in findings] == [Fault.UNKNOWN_CLASS, Fault.UNUSABLE]
