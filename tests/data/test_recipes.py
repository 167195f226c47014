"""Where the images of samples come to lie."""

import numpy as np
import pytest

from yoloprune.data import recipes
from yoloprune.data.recipes import Recipes, cut, drawn, fitted, moved, uniforms

SIZE = (96, 160)


def many(count: int, mosaic: float, shape: tuple[int, int] = (60, 80)) -> Recipes:
    return drawn(
        np.stack([uniforms((7, n)) for n in range(count)]),
        np.arange(count),
        count,
        lambda numbers: np.broadcast_to(shape, (*numbers.shape, 2)),
        SIZE,
        mosaic,
    )


@pytest.mark.parametrize("mosaic", [0.0, 1.0])
def test_a_sample_does_not_depend_on_those_beside_it(mosaic: float) -> None:
    together = many(9, mosaic)
    alone = drawn(
        uniforms((7, 4))[None],
        np.array([4]),
        9,
        lambda numbers: np.broadcast_to((60, 80), (*numbers.shape, 2)),
        SIZE,
        mosaic,
    )
    assert np.array_equal(alone.matrices[0], together.matrices[4])
    assert np.array_equal(alone.images[0], together.images[4])
    assert np.array_equal(alone.center[0], together.center[4])
    assert len(together) == 9


def test_tiles_cover_a_mosaic_and_each_image_reaches_into_its_own() -> None:
    found = many(50, 1.0)
    spans = found.spans()
    areas = (spans[..., 2:] - spans[..., :2]).prod(axis=-1)
    assert (areas.sum(axis=1) == SIZE[0] * SIZE[1]).all()
    assert (areas > 0.05 * SIZE[0] * SIZE[1]).all()
    corners = np.array([[0, 0], [80, 0], [0, 60], [80, 60]])
    for sample in range(50):
        for tile in range(4):
            matrix, (left, top, right, bottom) = found.matrices[sample, tile], spans[sample, tile]
            x, y = (corners @ matrix[:, :2].T + matrix[:, 2]).T
            assert x.max() > left and x.min() < right and y.max() > top and y.min() < bottom


def test_mirrored_samples_are_as_many_and_turn_their_images_round() -> None:
    for mosaic in (0.0, 1.0):
        signs = np.sign(np.linalg.det(many(400, mosaic).matrices[:, 0, :, :2]))
        assert 150 < (signs < 0).sum() < 250


def test_angles_and_scales_stay_within_their_limits() -> None:
    found = many(500, 0.0).matrices[:, 0, :, :2]
    scale = np.sqrt(np.abs(np.linalg.det(found))) / min(SIZE[0] / 60, SIZE[1] / 80)
    limit = np.exp(recipes.SCALE)
    assert 1 / limit <= scale.min() < 0.65 and 1.6 < scale.max() <= limit + 1e-12
    # The image of the x axis is turned, never sheared; mirrored ones point left.
    angles = np.rad2deg(np.arctan2(found[:, 1, 0], np.abs(found[:, 0, 0])))
    assert 0.9 * recipes.ROTATION < np.abs(angles).max() <= recipes.ROTATION


def test_a_box_is_that_of_the_moved_ellipse() -> None:
    generator = np.random.default_rng(0)
    around = np.linspace(0, 2 * np.pi, 20001)
    for _ in range(20):
        left, top = generator.uniform(0, 50, 2)
        width, height = generator.uniform(1, 50, 2)
        matrix = generator.normal(size=(2, 3))
        ellipse = np.column_stack((
            left + width / 2 * (1 + np.cos(around)), top + height / 2 * (1 + np.sin(around)),
        ))  # fmt: skip
        points = ellipse @ matrix[:, :2].T + matrix[:, 2]
        box = np.array([[left, top, left + width, top + height]], np.float32)
        (found,) = moved(box, matrix)
        assert found == pytest.approx([*points.min(axis=0), *points.max(axis=0)], abs=1e-3)


def test_what_is_cut_away_is_dropped() -> None:
    boxes = np.array([[-8, 0, 2, 10], [-7, 0, 3, 10], [0, 0, 1.5, 10]], np.float32)
    left, kept = cut(boxes, np.array([0, 0, 20, 20]))
    # A fifth of the area is just enough, and its side of two pixels as well.
    assert kept.tolist() == [True, True, False]
    assert left.tolist() == [[0, 0, 2, 10], [0, 0, 3, 10]]


def test_fitted_images_touch_two_sides() -> None:
    matrix = fitted((60, 120), SIZE)
    assert (matrix[:, :2] @ [120, 60] + 2 * matrix[:, 2]).tolist() == [160, 96]
    assert matrix[0, 2] == 0 and matrix[1, 2] == 8
