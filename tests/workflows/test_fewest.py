from collections.abc import Sequence

import pytest

from yoloprune.workflows.fewest import culprits, needed


@pytest.mark.parametrize("guilty", [set(), {0}, {3, 4}, {6}, set(range(7))])
def test_what_something_fails_with_and_does_not_go_without_is_found(guilty: set[int]) -> None:
    items = list(range(7))
    assert {*culprits(items, lambda some: bool(guilty & {*some}))} == guilty
    assert {*needed(items, lambda some: guilty <= {*some})} == guilty
    assert culprits((), lambda some: True) == needed((), lambda some: False) == ()


def test_what_fails_together_alone_is_found_as_a_whole() -> None:
    def both(some: Sequence[int]) -> bool:
        return {1, 2} <= {*some}

    assert {*culprits([0, 1, 2, 3], both)} == {0, 1, 2, 3}
    assert {*culprits([1, 2, 5, 6], both)} == {1, 2}
