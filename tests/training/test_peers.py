import time

import pytest
import torch

from yoloprune.errors import DatasetError
from yoloprune.training.peers import PATIENCE, first_speaks


@pytest.mark.parametrize("rank", [0, 1])
def test_others_hold_their_errors_back(monkeypatch: pytest.MonkeyPatch, rank: int) -> None:
    waited: list[float] = []
    monkeypatch.setattr(time, "sleep", waited.append)
    monkeypatch.setenv("RANK", str(rank))
    for size in (1, 2):
        monkeypatch.setenv("WORLD_SIZE", str(size))
        with pytest.raises(DatasetError), first_speaks():
            raise DatasetError("bad data")
    assert waited == [PATIENCE] * rank


@pytest.mark.parametrize(
    ("error", "waits"),
    [
        (torch.distributed.DistNetworkError("connection reset"), 1),
        (RuntimeError("connection closed by peer"), 1),
        (torch.OutOfMemoryError("out of memory"), 0),
        (DatasetError("bad data"), 0),
    ],
)
def test_the_first_holds_back_that_it_lost_another(
    monkeypatch: pytest.MonkeyPatch, error: Exception, waits: int
) -> None:
    waited: list[float] = []
    monkeypatch.setattr(time, "sleep", waited.append)
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(type(error)), first_speaks():
        raise error
    assert waited == [PATIENCE] * waits
