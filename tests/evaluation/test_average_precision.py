"""Average precision worked out by hand."""

import tracemalloc
from collections.abc import Iterator
from functools import partial

import numpy as np
import pytest
import torch

from yoloprune.detection.boxes import pixel_box_iou
from yoloprune.detection.decode import Detections
from yoloprune.evaluation.average_precision import (
    Flags,
    GroundTruth,
    Matched,
    Matcher,
    Ranking,
    average_precision,
    average_precisions,
    best_f1,
    match,
    match_image,
    nearest_matches,
    precision_recall,
    rank,
)

BOX = (0.0, 0.0, 10.0, 10.0)
ELSEWHERE = (50.0, 50.0, 60.0, 60.0)


def detections(*rows: tuple[tuple[float, ...], float, int]) -> Detections:
    return Detections(
        boxes_xyxy=torch.tensor([row[0] for row in rows]).reshape(-1, 4),
        scores=torch.tensor([row[1] for row in rows]),
        labels=torch.tensor([row[2] for row in rows], dtype=torch.int64),
    )


def truth(*rows: tuple[tuple[float, ...], int]) -> GroundTruth:
    return GroundTruth(
        boxes_xyxy=torch.tensor([row[0] for row in rows], dtype=torch.float64).reshape(-1, 4),
        labels=torch.tensor([row[1] for row in rows], dtype=torch.int64),
    )


def ranked(
    found: list[Detections],
    objects: list[GroundTruth],
    classes: int,
    matcher: Matcher = nearest_matches,
) -> Ranking:
    images = [match_image(*pair, matcher) for pair in zip(found, objects, strict=True)]
    return rank(images, classes)


@pytest.mark.parametrize(
    ("correct", "objects", "expected"),
    [
        ([True, True], 2, 1.0),
        ([True], 2, 0.5),
        ([False, False], 3, 0.0),
        ([], 3, 0.0),
        # Points (recall, precision): (1/2, 1), (1/2, 1/2), (1, 2/3).
        ([True, False, True], 2, 0.5 * 1 + 0.5 * 2 / 3),
        # The envelope lifts 1/2 to 2/3: (0, 0), (1/3, 1/2), (2/3, 2/3), (2/3, 1/2).
        ([False, True, True, False], 3, 1 / 3 * 2 / 3 + 1 / 3 * 2 / 3),
    ],
)
def test_area_under_the_precision_envelope(
    correct: list[bool], objects: int, expected: float
) -> None:
    curve = precision_recall(np.array(correct, np.bool_), objects)
    assert average_precision(*curve) == pytest.approx(expected)


def test_best_f1_is_a_point_of_the_curve() -> None:
    curve = precision_recall(np.array([True, False, True, False, False]), 4)
    # F1 after each detection: 2/5, 2/6, 4/7, 4/8, 4/9.
    assert best_f1(*curve) == (2 / 3, 2 / 4)
    assert best_f1(*precision_recall(np.zeros(3, np.bool_), 4)) == (0, 0)
    assert best_f1(*precision_recall(np.zeros(0, np.bool_), 4)) == (0, 0)


@pytest.mark.parametrize(
    ("overlaps", "correct"),
    [
        # The second finds the same object again.
        ([[0.9, 0.0], [0.8, 0.1], [0.0, 0.5]], [True, False, True]),
        # The second also overlaps a free object enough, but another one more.
        ([[0.9, 0.0], [0.8, 0.7]], [True, False]),
        ([[0.49]], [False]),
        ([[0.3], [0.6]], [False, True]),
        ([[], []], [False, False]),
    ],
)
def test_each_object_is_found_once(overlaps: list[list[float]], correct: list[bool]) -> None:
    assert match(np.array(overlaps, np.float64), 0.5).tolist() == correct


def test_detections_of_all_images_are_ranked_together() -> None:
    ranking = ranked(
        [
            detections((ELSEWHERE, 0.6, 0), (BOX, 0.3, 0)),
            detections((BOX, 0.9, 0), (BOX, 0.5, 1)),
            detections((BOX, 0.8, 0)),
        ],
        [truth((BOX, 0)), truth((BOX, 0), (ELSEWHERE, 1)), truth()],
        3,
    )
    assert ranking.labels.tolist() == [0, 0, 0, 1, 0]
    assert ranking.correct().tolist() == [True, False, False, False, True]
    assert ranking.objects.tolist() == [2, 1, 0]
    # Class 0: (1/2, 1), ..., (1, 2/4). Class 1 is never found, class 2 never there.
    assert average_precisions(ranking) == pytest.approx([0.75, 0.0, np.nan], nan_ok=True)


def test_objects_of_another_class_are_not_in_the_way() -> None:
    wider = (0.0, 0.0, 12.0, 10.0)
    ranking = ranked([detections((BOX, 0.9, 1))], [truth((BOX, 0), (wider, 1))], 2)
    assert ranking.correct().tolist() == [True]


def test_the_better_of_two_detections_is_correct_in_any_order() -> None:
    ranking = ranked([detections((BOX, 0.2, 0), (BOX, 0.7, 0))], [truth((BOX, 0))], 1)
    assert ranking.correct().tolist() == [True, False]


def test_the_kind_of_iou_matters() -> None:
    # 4 x 2 against 4 x 4: 0.5 as areas; counting corner pixels 5 x 3 against 5 x 5: 0.6.
    found = [detections(((0.0, 0.0, 4.0, 2.0), 0.9, 0))]
    there = [truth(((0.0, 0.0, 4.0, 4.0), 0))]
    strict = partial(nearest_matches, iou_threshold=0.55)
    assert not ranked(found, there, 1, strict).correct()[0]
    assert ranked(found, there, 1, partial(strict, iou=pixel_box_iou)).correct()[0]
    assert ranked(found, there, 1).correct()[0]


def test_no_detections_at_all() -> None:
    ranking = ranked([detections()], [truth((BOX, 0))], 1)
    assert ranking.correct().shape == (0,)
    assert average_precisions(ranking).tolist() == [0.0]


def test_every_way_to_match_has_its_own_flags() -> None:
    # Eleven ways: more than a byte has bits.
    ways = np.random.default_rng(0).random((3, 11)) < 0.5

    def matcher(found: Detections, truth: GroundTruth) -> Flags:
        return ways

    found = detections((BOX, 0.2, 0), (BOX, 0.9, 1), (BOX, 0.5, 0))
    ranking = ranked([found], [truth((BOX, 1))], 2, matcher)
    assert ranking.labels.tolist() == [1, 0, 0]
    assert np.array_equal(np.stack([ranking.correct(way) for way in range(11)], axis=1), ways)
    ((label, places),) = ranking.by_class()
    assert (label, places.tolist()) == (1, [0])


def test_a_detection_takes_few_bytes() -> None:
    """Scores, classes and flags alone are kept: pycocotools takes a kilobyte for a detection."""

    def images() -> Iterator[Matched]:
        for _ in range(500):
            yield Matched(
                scores=generator.random(400, np.float32),
                labels=np.zeros(400, np.int64),
                correct=np.zeros((400, 11), np.bool_),
                objects=np.zeros(3, np.int64),
            )

    generator = np.random.default_rng(0)
    tracemalloc.start()
    try:
        ranking = rank(images(), 1)
        kept, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(ranking.labels) == 200_000
    assert kept < 10 * 200_000
    assert peak < 50 * 200_000
