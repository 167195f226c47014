from collections.abc import Callable

import pytest
import torch

from yoloprune.training.memory import largest_fitting


def test_the_search_halves_until_it_fits() -> None:
    def room_for(most: int) -> Callable[[int], None]:
        def attempt(count: int) -> None:
            if count > most:
                raise torch.OutOfMemoryError("CUDA out of memory.")

        return attempt

    assert largest_fitting(room_for(5), failed=16) == 4
    assert largest_fitting(room_for(0), failed=16) == 0

    def broken(count: int) -> None:
        raise RuntimeError("shapes differ")

    with pytest.raises(RuntimeError, match="shapes differ"):
        largest_fitting(broken, failed=16)
