import torch

from yoloprune.detection.decode import Detections
from yoloprune.detection.matching import found_by_both


def detections(*found: tuple[tuple[float, float, float, float], int]) -> Detections:
    return Detections(
        boxes_xyxy=torch.tensor([box for box, _ in found], dtype=torch.float32).reshape(-1, 4),
        scores=torch.ones(len(found)),
        labels=torch.tensor([label for _, label in found], dtype=torch.int64),
    )


def both(first: Detections, second: Detections) -> tuple[list[bool], list[bool]]:
    a, b = found_by_both(first, second)
    assert a.sum() == b.sum()
    return a.tolist(), b.tolist()


def test_one_object_has_one_class_and_half_of_its_area() -> None:
    first = detections(((0, 0, 10, 10), 0), ((20, 20, 30, 30), 0), ((40, 40, 50, 50), 1))
    # IoU 2/3; 1/3; the same box of another class.
    second = detections(((0, 0, 15, 10), 0), ((20, 25, 30, 35), 0), ((40, 40, 50, 50), 0))
    assert both(first, second) == ([True, False, False], [True, False, False])


def test_half_is_enough() -> None:
    assert both(detections(((0, 0, 10, 10), 0)), detections(((0, 0, 20, 10), 0))) == (
        [True],
        [True],
    )


def test_each_has_one_counterpart_and_the_best_agree_first() -> None:
    first = detections(((0, 0, 10, 10), 0), ((0, 0, 10, 9), 0))
    assert both(first, detections(((0, 0, 10, 9), 0))) == ([False, True], [True])
    # The first of `first` would take the second of `second`; there it is left the other one.
    second = detections(((0, 0, 10, 12), 0), ((0, 0, 10, 9), 0))
    assert both(first, second) == ([True, True], [True, True])


def test_nothing_has_no_counterpart() -> None:
    nothing = detections()
    assert both(nothing, nothing) == ([], [])
    assert both(detections(((0, 0, 10, 10), 0)), nothing) == ([False], [])
