"""Draws of images are what evaluating the drawn images again would give."""

import numpy as np
import pytest

from yoloprune.evaluation.average_precision import Matched, average_precisions, rank
from yoloprune.evaluation.coco import coco_average_precisions
from yoloprune.evaluation.details import DRAWS, details, interval
from yoloprune.evaluation.protocols import PROTOCOLS, Protocol


def images(seed: int, count: int = 30, right: float = 0.7) -> list[Matched]:
    """Detections of two classes, better ones scored higher."""
    generator = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        detections, objects = generator.integers(0, 6), generator.integers(0, 4)
        correct = np.zeros((detections, 11), np.bool_)
        correct[: min(detections, objects)] = generator.random((1, 11)) < right
        scores = np.sort(generator.random(detections))[::-1]
        labels = generator.integers(0, 2, detections)
        found.append(
            Matched(
                scores=scores,
                labels=labels,
                correct=correct,
                objects=generator.integers(0, 2, objects),
            )
        )
    return found


@pytest.mark.parametrize("protocol", PROTOCOLS.values(), ids=PROTOCOLS)
def test_a_draw_is_an_evaluation_of_the_drawn_images(protocol: Protocol) -> None:
    matched = images(3)
    found = details(matched, 2, protocol.ap50, seed=5)
    generator = np.random.default_rng(5)
    for draw in range(8):
        drawn = [matched[i] for i in generator.integers(0, len(matched), len(matched))]
        expected = np.nanmean(protocol.averages(rank(drawn, 2))[0])
        assert found.draws[draw] == pytest.approx(expected, abs=1e-12)
    assert len(found.draws) == DRAWS


def test_half_of_the_detections_scatter_as_theory_says() -> None:
    # One certain detection an image, right in half of them: the precision at the end is a mean of
    # coin tosses, and so is the recall; their product scatters by about 1 / sqrt(N).
    generator = np.random.default_rng(0)
    matched = [
        Matched(
            scores=np.array([0.9]),
            labels=np.zeros(1, np.int64),
            correct=np.array([[generator.random() < 0.5]]),
            objects=np.zeros(1, np.int64),
        )
        for _ in range(400)
    ]
    found = details(matched, 1, lambda ranking: ranking.correct().mean(keepdims=True))
    assert found.draws.std() == pytest.approx(0.5 / 20, rel=0.15)
    low, high = interval(found.draws)
    assert low < found.hits.mean() < high
    assert high - low == pytest.approx(2 * 1.96 * 0.5 / 20, rel=0.2)


def test_networks_are_drawn_alike() -> None:
    one, other = (details(images(seed), 2, average_precisions) for seed in (1, 1))
    assert (one.draws == other.draws).all()
    assert interval(other.draws - one.draws) == (0.0, 0.0)


def test_images_are_counted_by_what_is_shown() -> None:
    matched = Matched(
        scores=np.array([0.9, 0.5, 0.2]),
        labels=np.zeros(3, np.int64),
        correct=np.array([[True], [False], [True]]),
        objects=np.zeros(4, np.int64),
    )
    nothing = Matched(
        scores=np.zeros(0),
        labels=np.zeros(0, np.int64),
        correct=np.zeros((0, 1), np.bool_),
        objects=np.zeros(0, np.int64),
    )
    found = details([matched, nothing], 1, average_precisions)
    assert found.objects.tolist() == [4, 0]
    assert found.hits.tolist() == [1, 0]
    assert found.false_alarms.tolist() == [1, 0]
    # Draws of the empty image alone have no AP: they do not count.
    assert np.isnan(found.draws).any() and np.isfinite(interval(found.draws)).all()


def test_coco_looks_at_the_first_threshold() -> None:
    ranking = rank(images(2), 2)
    ways = range(1, 11)
    assert (PROTOCOLS["coco"].ap50(ranking) == coco_average_precisions(ranking, ways)[0]).all()
