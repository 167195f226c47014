import numpy as np
import pytest

from yoloprune.data.levels import LEVELS, levels_of, nearest_levels


def test_every_level_is_half_of_the_one_before() -> None:
    image = np.full((37, 90, 3), 9, np.uint8)
    found = levels_of(image)
    assert found[0] is image
    assert [level.shape[:2] for level in found] == [(37, 90), (18, 45), (9, 22), (5, 11)]
    assert all((level == 9).all() and level.shape[2] == 3 for level in found)
    assert levels_of(np.zeros((1, 1, 1), np.uint8))[-1].shape == (1, 1, 1)


@pytest.mark.parametrize(
    ("scale", "level"), [(3.0, 0), (0.71, 0), (0.7, 1), (0.36, 1), (0.35, 2), (1e-9, LEVELS - 1)]
)
def test_what_is_shrunk_is_sampled_from_the_nearest_level(scale: float, level: int) -> None:
    assert nearest_levels(np.array([[scale, 0, 5], [0, -scale, 5.0]])) == level
