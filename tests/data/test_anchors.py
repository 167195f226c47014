from itertools import product
from pathlib import Path

import numpy as np
import pytest

from yoloprune.data.anchors import (
    anchor_fit,
    fit_anchors,
    format_anchors,
    input_shapes,
    network_anchors,
    shape_iou,
)
from yoloprune.errors import DatasetError
from yoloprune.frontends.darknet.parser import parse_cfg
from yoloprune.frontends.darknet.zoo import COCO_ANCHORS, yolov3


def random_shapes(count: int, seed: int = 0) -> np.ndarray:
    return np.exp(np.random.default_rng(seed).normal(3, 0.8, (count, 2)))


def brute_force(shapes: np.ndarray, count: int) -> float:
    """The best mean IoU of all ways to split shapes into groups, each with its mean as anchor."""
    best = 0.0
    for groups in product(range(count), repeat=len(shapes)):
        chosen = np.array(groups)
        if len(set(groups)) == count:
            anchors = np.array([shapes[chosen == group].mean(axis=0) for group in range(count)])
            best = max(best, anchor_fit(shapes, anchors).mean_iou)
    return best


def test_iou_of_shapes_by_hand() -> None:
    iou = shape_iou(np.array([[10.0, 20.0], [4.0, 4.0]]), np.array([[10.0, 20.0], [20.0, 10.0]]))
    assert iou == pytest.approx(np.array([[1, 100 / 300], [16 / 200, 16 / 200]]))


def test_anchors_of_0_fit_nothing() -> None:
    shapes, anchors = np.array([[4.0, 4.0], [0.0, 0.0]]), np.array([[0.0, 4.0], [0.0, 0.0]])
    assert shape_iou(shapes, anchors).tolist() == [[0, 0], [0, 0]]


def test_fit_by_hand() -> None:
    # 0.5 itself is within reach.
    shapes = np.array([[10.0, 10.0], [10.0, 5.0], [10.0, 4.0]])
    fit = anchor_fit(shapes, np.array([[10.0, 10.0]]))
    assert fit.mean_iou == pytest.approx((1 + 0.5 + 0.4) / 3)
    assert fit.recall == pytest.approx(2 / 3)
    with pytest.raises(DatasetError, match="no box to fit anchors to"):
        anchor_fit(np.zeros((0, 2)), np.ones((1, 2)))


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("count", [1, 2, 3])
def test_k_means_finds_the_best_split_of_a_few_shapes(count: int, seed: int) -> None:
    shapes = random_shapes(7, seed)
    found = anchor_fit(shapes, fit_anchors(shapes, count)).mean_iou
    # Means are not always the best anchors of their group: a round before may do better.
    assert found >= brute_force(shapes, count) - 1e-3


def test_clear_groups_are_found() -> None:
    centers = np.array([[10.0, 10.0], [40.0, 20.0], [30.0, 90.0], [200.0, 150.0]])
    random = np.random.default_rng(0)
    shapes = np.concatenate([center * random.uniform(0.95, 1.05, (50, 2)) for center in centers])
    assert fit_anchors(shapes, 4) == pytest.approx(centers, rel=0.02)


def test_the_same_seed_gives_the_same_anchors() -> None:
    shapes = random_shapes(500)
    assert np.array_equal(fit_anchors(shapes, 9, seed=3), fit_anchors(shapes, 9, seed=3))
    areas = fit_anchors(shapes, 9).prod(axis=1)
    assert (np.diff(areas) > 0).all()


def test_fitted_anchors_beat_others_and_more_are_better() -> None:
    shapes = random_shapes(2000)
    fits = [anchor_fit(shapes, fit_anchors(shapes, n, restarts=3)).mean_iou for n in (1, 3, 6, 9)]
    assert fits == sorted(fits)
    assert fits[-1] > anchor_fit(shapes, np.array(COCO_ANCHORS, float)).mean_iou


def test_too_few_shapes_are_refused() -> None:
    shapes = np.array([[1.0, 2.0]] * 5 + [[3.0, 4.0]])
    assert fit_anchors(shapes, 2).tolist() == [[1, 2], [3, 4]]
    with pytest.raises(DatasetError, match=r"3 anchors were asked for, but .* 2 different shapes"):
        fit_anchors(shapes, 3)
    with pytest.raises(DatasetError, match="0 different shapes"):
        fit_anchors(np.zeros((0, 2)), 1)


def test_shapes_in_the_network_are_stretched_or_letterboxed() -> None:
    boxes = [
        np.array([[0.25, 0.5, 0.75, 0.75]]),
        np.zeros((0, 4)),
        np.array([[0.0, 0.0, 1.0, 1.0]]),
    ]
    sizes = [(100, 200), (7, 7), (300, 100)]
    stretched = input_shapes(boxes, sizes, (320, 416), letterbox=False)
    assert stretched.tolist() == [[208, 80], [416, 320]]
    # 200x100 becomes 416x208; 100x300 becomes 106.67x320.
    kept = input_shapes(boxes, sizes, (320, 416), letterbox=True)
    assert kept == pytest.approx(np.array([[208, 52], [320 / 3, 320]]))


def test_anchors_of_a_network(tmp_path: Path) -> None:
    assert network_anchors(yolov3()).tolist() == [list(map(float, pair)) for pair in COCO_ANCHORS]
    # Those of [region] are in cells: 32 pixels here.
    cells = parse_cfg(
        "[net]\nwidth=64\nheight=64\nchannels=3\n[maxpool]\nsize=32\nstride=32\n"
        "[convolutional]\nfilters=12\nsize=1\nstride=1\nactivation=linear\n"
        "[region]\nsoftmax=1\nanchors=1,2, 0.5,0.5\nnum=2\nclasses=1\n"
    )
    assert network_anchors(cells).tolist() == [[16, 16], [32, 64]]
    with pytest.raises(DatasetError, match="no heads"):
        network_anchors(parse_cfg("[net]\nwidth=8\nheight=8\nchannels=3\n[convolutional]\n"))


def test_anchors_are_written_as_in_a_cfg() -> None:
    assert format_anchors([(10, 13), (33.25, 23)]) == "10,13, 33.25,23"


def test_shapes_that_rounding_alone_tells_apart_are_one() -> None:
    shapes = np.array([[20.0, 20.0], [20.0 + 1e-14, 20.0], [40.0, 40.0]])
    with pytest.raises(DatasetError, match="3 anchors were asked for, but the boxes have 2"):
        fit_anchors(shapes, 3)
