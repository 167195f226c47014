"""Order, threads and errors of work on several items at a time."""

from collections.abc import Iterator
from threading import Barrier, current_thread

import cv2
import pytest
import torch

from yoloprune.evaluation import streams
from yoloprune.evaluation.streams import MOST_STREAMS, in_streams


@pytest.fixture
def many_cores(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Sixteen cores, however many there are; the settings of torch and OpenCV come back."""
    threads, opencv_threads = torch.get_num_threads(), cv2.getNumThreads()
    monkeypatch.setattr(streams, "available_cores", lambda: 16)
    torch.set_num_threads(16)
    cv2.setNumThreads(3)
    yield
    torch.set_num_threads(threads)
    cv2.setNumThreads(opencv_threads)


def settings() -> tuple[int, int]:
    return torch.get_num_threads(), cv2.getNumThreads()


def test_results_are_in_order_and_threads_are_shared_out(many_cores: None) -> None:
    # Nobody goes on before all streams are at work.
    together = Barrier(MOST_STREAMS, timeout=20)

    def work(item: int) -> tuple[int, tuple[int, int], str]:
        together.wait()
        return item, settings(), current_thread().name

    items, inside, names = zip(*in_streams(work, range(3 * MOST_STREAMS)), strict=True)
    assert items == tuple(range(3 * MOST_STREAMS))
    assert set(inside) == {(16 // MOST_STREAMS, 1)}
    assert len(set(names)) == MOST_STREAMS
    assert settings() == (16, 3)


@pytest.mark.parametrize(("cores", "threads"), [(1, 16), (16, 1)])
def test_one_core_or_one_thread_is_one_stream(
    cores: int, threads: int, many_cores: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "available_cores", lambda: cores)
    torch.set_num_threads(threads)
    names = set(in_streams(lambda item: current_thread().name, range(10)))
    assert len(names) == 1


def test_items_are_not_fetched_far_ahead(many_cores: None) -> None:
    fetched = 0

    def items() -> Iterator[int]:
        nonlocal fetched
        for item in range(100):
            fetched += 1
            yield item

    for number, _ in enumerate(in_streams(int, items()), start=1):
        assert fetched <= number + 2 * MOST_STREAMS
    assert fetched == 100


def test_an_error_comes_in_its_place_and_ends_the_work(many_cores: None) -> None:
    def work(item: int) -> int:
        if item >= 5:
            raise ValueError(str(item))
        return item

    seen = []
    with pytest.raises(ValueError, match="5"):
        for item in in_streams(work, range(100)):
            seen.append(item)
    assert seen == [0, 1, 2, 3, 4]
    assert settings() == (16, 3)


def test_who_stops_early_leaves_nothing_behind(many_cores: None) -> None:
    results = in_streams(int, range(100))
    assert next(results) == 0
    results.close()
    assert settings() == (16, 3)
