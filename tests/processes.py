"""Other processes in tests, forked: they need not import anything again."""

import os
import runpy
import socket
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from tempfile import NamedTemporaryFile

from yoloprune.locks import locked

PATIENCE = 60.0
"""Seconds after which a process is taken for one that hangs."""


_SERVER = get_context("forkserver")
_SERVER.set_forkserver_preload(["tests.preloaded"])


def begun(work: Callable[..., object], *arguments: object) -> BaseProcess:
    """A process that does this afresh: it knows nothing of what the test has done before.

    `work` is a function of a module, and the arguments are plain data.
    """
    process = _SERVER.Process(target=work, args=arguments)
    process.start()
    return process


def ended(process: BaseProcess) -> int | None:
    """How a process ends; None if it does not end."""
    process.join(PATIENCE)
    code = process.exitcode
    process.kill()
    process.join()
    return code


@dataclass(frozen=True)
class Outcome:
    """How a process ended, and what it wrote."""

    returncode: int | None
    stdout: str
    stderr: str


def outcome(work: Callable[..., object], *arguments: object) -> Outcome:
    """What comes of a process that does this afresh, as `begun` has it."""
    (found,) = _outcomes([(work, arguments)])
    return found


def in_ranks(count: int, work: Callable[..., object], *arguments: object) -> list[Outcome]:
    """What comes of so many processes that do this together, as if torchrun had started them."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    return _outcomes([(_as_rank, (rank, count, port, work, arguments)) for rank in range(count)])


def _outcomes(jobs: Sequence[tuple[Callable[..., object], Sequence[object]]]) -> list[Outcome]:
    with ExitStack() as stack:
        team = []
        for work, arguments in jobs:
            out, err = (stack.enter_context(NamedTemporaryFile("r")) for _ in range(2))
            team.append((begun(_with_output, out.name, err.name, work, arguments), out, err))
        return [
            Outcome(returncode=ended(process), stdout=out.read(), stderr=err.read())
            for process, out, err in team
        ]


def _with_output(
    out: str, err: str, work: Callable[..., object], arguments: Sequence[object]
) -> None:
    for descriptor, path in ((1, out), (2, err)):
        os.dup2(os.open(path, os.O_WRONLY), descriptor)
    work(*arguments)


def program(path: Path | str, *words: object) -> None:
    """Be a script, or the module of this name, with these arguments."""
    sys.argv = [str(path), *map(str, words)]
    if isinstance(path, Path):
        runpy.run_path(str(path), run_name="__main__")
    else:
        runpy.run_module(path, run_name="__main__", alter_sys=True)


def _as_rank(
    rank: int, count: int, port: int, work: Callable[..., object], arguments: Sequence[object]
) -> None:
    place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": count, "MASTER_PORT": port}
    os.environ |= {name: str(value) for name, value in place.items()}
    os.environ["MASTER_ADDR"] = "127.0.0.1"
    work(*arguments)


def exit_code(work: Callable[[], object]) -> int | None:
    """How a process ends that does this; None if it does not end."""
    process = get_context("fork").Process(target=work)
    process.start()
    return ended(process)


@contextmanager
def holding(folder: Path, work: Callable[[], object] = lambda: None) -> Iterator[BaseProcess]:
    """Another process that works in a folder, having done `work`, until it is killed."""
    ours, theirs = get_context("fork").Pipe()

    def hold(told: Connection) -> None:
        with locked(folder):
            work()
            told.send(True)
            time.sleep(PATIENCE)

    process = get_context("fork").Process(target=hold, args=(theirs,))
    process.start()
    assert ours.recv()
    try:
        yield process
    finally:
        process.kill()
        process.join()


def runs(pid: int) -> bool:
    """Whether a process has not ended, whoever is to bury it."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def wait_until(condition: Callable[[], bool]) -> bool:
    """Whether something comes true within `PATIENCE`."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.01)
    return False


def next_descriptor() -> int:
    """The number that the next file to be opened will have."""
    descriptor = os.open(os.devnull, os.O_RDONLY)
    os.close(descriptor)
    return descriptor
