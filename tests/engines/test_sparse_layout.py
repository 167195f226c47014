"""Layouts worked out by hand."""

from dataclasses import replace

import numpy as np
import pytest

from yoloprune.engines.sparse_layout import Geometry, Window, nonzeros, tile_starts, unit_size
from yoloprune.graph.graph import Attribute, Node

WINDOW = Window(filters=2, size=3, stride_y=1, stride_x=1, padding=1, dilation=1, groups=1)


def conv(**attributes: Attribute) -> Node:
    return Node(
        name="conv", operator="Conv", inputs=("x", "k"), outputs=("y",), attributes=attributes
    )


def test_windows_are_square_and_evenly_padded() -> None:
    node = conv(pads=(1, 1, 1, 1), strides=(2, 1), group=2)
    assert Window.of(node, (4, 3, 3, 3)) == Window(
        filters=4, size=3, stride_y=2, stride_x=1, padding=1, dilation=1, groups=2
    )
    for other, kernel in (
        (conv(pads=(1, 0, 1, 0)), (4, 3, 3, 3)),
        (conv(), (4, 3, 3, 1)),
        (conv(dilations=(1, 2)), (4, 3, 3, 3)),
        (conv(auto_pad="SAME_UPPER"), (4, 3, 3, 3)),
        (conv(), (4, 3, 3)),
    ):
        assert Window.of(other, kernel) is None


def test_planes_of_an_image() -> None:
    # Rows share the zeros between them: 6 + 2 - 1 floats each.
    plain = Geometry.of(WINDOW, (2, 5, 6))
    assert (plain.planes, plain.height, plain.width) == ((2, 1, 1, 7, 7), 5, 6)
    assert (plain.pitch, plain.end) == (7, 4 * 7 + 6)
    halved = Geometry.of(replace(WINDOW, stride_y=2, stride_x=2), (2, 5, 6))
    assert (halved.planes, halved.height, halved.width) == ((2, 2, 2, 4, 4), 3, 3)


@pytest.mark.parametrize("zeros", [0.0, 0.7, 1.0])
def test_a_filter_at_a_pixel_is_its_numbers_at_their_places(zeros: float) -> None:
    generator = np.random.default_rng(0)
    kernel = generator.normal(size=(2, 3, 3, 3)).astype(np.float32)
    kernel[generator.random(kernel.shape) < zeros] = 0
    plan = Geometry.of(WINDOW, (3, 5, 6))
    image = generator.normal(size=(3, 5, 6)).astype(np.float32)
    flat = np.pad(image, ((0, 0), (1, 1), (1, 0))).ravel()
    starts, offsets, values = nonzeros(WINDOW, kernel, plan, tile=8, together=1)
    assert len(offsets) == len(values) == np.count_nonzero(kernel)
    padded = np.pad(image, ((0, 0), (1, 1), (1, 1)))
    for f in range(2):
        found = sum(
            values[k] * flat[offsets[k] + 2 * plan.pitch + 3]
            for first, last in zip(starts[:, f], starts[:, f + 1], strict=True)
            for k in range(first, last)
        )
        expected = (kernel[f] * padded[:, 2:5, 3:6]).sum()
        assert found == pytest.approx(expected, abs=1e-5)


def test_filters_with_zeros_in_the_same_places_are_computed_together() -> None:
    window = replace(WINDOW, filters=4, size=1, padding=0)
    same = np.zeros((4, 8, 1, 1), np.float32)
    same[:, :2] = 1
    apart = np.zeros((4, 8, 1, 1), np.float32)
    for f in range(4):
        apart[f, 2 * f : 2 * f + 2] = 1
    assert unit_size(window, same, 4) == 4
    assert unit_size(window, apart, 4) == 1
    assert unit_size(replace(window, groups=2), same, 4) == 1


def test_tiles_cover_all_pixels_and_never_reach_beyond_the_end() -> None:
    assert tile_starts(16, 8, 4)[0].tolist() == [0, 8]
    for end, starts, small in ((19, [0, 8, 15], True), (22, [0, 8, 14], False), (3, [0], True)):
        found, is_small = tile_starts(end, 8, 4)
        assert (found.tolist(), is_small) == (starts, small)
