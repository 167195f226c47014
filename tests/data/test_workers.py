"""Values made by other processes: in order, without shared memory, and never waited for in vain."""

import ctypes
import errno
import os
import resource
import signal
import time
from collections.abc import Callable
from multiprocessing import active_children, get_context
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.processes import exit_code, next_descriptor, runs, wait_until
from tests.reporters import Heard
from yoloprune.data.workers import made_in_order
from yoloprune.errors import DatasetError, RunError

MEGABYTE = 1 << 20


def arrays(place: int) -> dict[str, Any]:
    """Five megabytes, other ones for each place."""
    large = np.full((5, MEGABYTE), place, np.uint8)
    return {"large": large, "empty": np.zeros((0, 4), np.float32), "place": np.array([place])}


def made(count: int, workers: int, **options: Any) -> list[int]:
    """The places of values that are as they should be."""
    places = []
    for value in made_in_order(arrays, count, workers=workers, **options):
        place = int(value["place"][0])
        expected = arrays(place)
        assert all(np.array_equal(value[name], expected[name]) for name in expected)
        assert all(value[name].dtype == expected[name].dtype for name in expected)
        value["large"][0, 0] = 1  # Not read-only: torch would complain.
        places.append(place)
    return places


@pytest.mark.parametrize("workers", [0, 1, 3, 9])
def test_values_come_in_order_from_any_number_of_processes(workers: int) -> None:
    assert made(7, workers) == list(range(7))
    assert active_children() == []


def small_shared_memory() -> None:
    """Give this process 1 MB of /dev/shm, as Docker does 64."""
    libc = ctypes.CDLL(None, use_errno=True)
    new_namespace, private = 0x20000, 1 << 18 | 1 << 14
    if (
        libc.unshare(new_namespace)
        or libc.mount(b"none", b"/", None, private, None)
        or libc.mount(b"tmpfs", b"/dev/shm", b"tmpfs", 0, b"size=1m")
    ):
        os._exit(77)


def no_shared_memory() -> None:
    small_shared_memory()
    read_only = 1 | 1 << 5
    assert not ctypes.CDLL(None).mount(b"none", b"/dev/shm", None, read_only, None)


def small_files() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))


@pytest.mark.parametrize("limit", [small_shared_memory, no_shared_memory, small_files])
def test_no_shared_memory_is_needed(limit: Callable[[], None]) -> None:
    def work() -> None:
        limit()
        os._exit(0 if made(6, 2) == list(range(6)) else 1)

    code = exit_code(work)
    if code == 77:
        pytest.skip("only root may mount")
    assert code == 0


def test_without_descriptors_for_processes_there_are_none() -> None:
    def work() -> None:
        most = next_descriptor() + 3
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        heard = Heard()
        places = made(3, 8, reporter=heard)
        # What was opened on the way is closed again.
        assert next_descriptor() == most - 3
        assert f"cannot be started ({os.strerror(errno.EMFILE)})" in heard.warnings[0]
        os._exit(0 if places == [0, 1, 2] and len(heard.warnings) == 1 else 1)

    assert exit_code(work) == 0


def test_a_process_that_is_killed_is_told_of() -> None:
    values = made_in_order(arrays, 9, workers=2)
    next(values)
    victim = active_children()[0].pid
    assert victim is not None
    os.kill(victim, signal.SIGKILL)
    with pytest.raises(RunError, match="killed by SIGKILL, as happens when memory runs out"):
        list(values)
    assert active_children() == []


def test_a_process_that_breaks_is_told_of(capfd: pytest.CaptureFixture[str]) -> None:
    def broken(place: int) -> int:
        raise AssertionError("a fault of ours")

    with pytest.raises(RunError, match="a loader process ended with code 1"):
        list(made_in_order(broken, 3, workers=1))
    assert "a fault of ours" in capfd.readouterr().err


@pytest.mark.parametrize("workers", [0, 1])
def test_errors_cross_over(workers: int) -> None:
    def fail(place: int) -> int:
        if place == 1:
            raise DatasetError("a.png: damaged")
        if place == 2:
            raise MemoryError
        return place

    values = made_in_order(fail, 3, workers=workers)
    assert next(values) == 0
    with pytest.raises(DatasetError, match=r"a\.png: damaged"):
        next(values)
    with pytest.raises(RunError, match="out of memory for the next batch"):
        list(made_in_order(lambda place: fail(2), 1, workers=workers))


def test_processes_end_with_the_one_that_reads(tmp_path: Path) -> None:
    def work() -> None:
        values = made_in_order(arrays, 1000, workers=3)
        next(values)
        pids = " ".join(str(child.pid) for child in active_children())
        (tmp_path / "pids").write_text(pids + "\n")
        time.sleep(60)

    parent = get_context("fork").Process(target=work)
    parent.start()
    pids = tmp_path / "pids"
    assert wait_until(lambda: pids.exists() and pids.read_text().endswith("\n"))
    children = [int(pid) for pid in pids.read_text().split()]
    assert len(children) == 3 and all(map(runs, children))
    parent.kill()
    parent.join()
    assert wait_until(lambda: not any(map(runs, children)))


def test_ctrl_c_is_for_the_one_that_reads() -> None:
    values = made_in_order(arrays, 12, workers=1)
    next(values)
    (child,) = active_children()
    assert child.pid is not None
    for number in (signal.SIGINT, signal.SIGINT):
        os.kill(child.pid, number)
    assert len(list(values)) == 11
