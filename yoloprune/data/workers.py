"""Values made by other processes, in order, over sockets: no shared memory, so none to run out of.

Each process makes every n-th value and keeps a few ready. A value's arrays are sent as they lie in
memory, straight into the arrays that they become. A process that dies closes its socket, so nobody
waits for it; one whose reader is gone cannot send, and ends.
"""

import os
import pickle
import queue
import signal
import socket
import sys
import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from typing import Any, TypeAlias, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from yoloprune.errors import RunError, YoloPruneError
from yoloprune.reporter import SILENT, Reporter

AHEAD = 2
"""Values that a process keeps ready, beside the one on its way and the one in the making."""

_DYING = 5.0
"""Seconds between a process closing its socket and its end, at most."""

_Value = TypeVar("_Value")
_Parts: TypeAlias = list[memoryview]


def made_in_order(
    make: Callable[[int], _Value],
    count: int,
    *,
    workers: int,
    reporter: Reporter = SILENT,
) -> Generator[_Value, None, None]:
    """make(0), ..., make(count - 1), made by `workers` processes, or by this one if there are none.

    Values are best made of NumPy arrays. Processes that cannot be started are warned of and done
    without. Raises what `make` does if that is a `YoloPruneError` or an `OSError`, and `RunError`
    if a process dies or memory runs out. No process outlives the generator.
    """
    try:
        with ExitStack() as stack:
            try:
                # No more than there are values: the others would have nothing to make.
                team = _start(make, count, min(workers, count), stack)
            except OSError as error:
                stack.close()
                reporter.warn(
                    f"loader processes cannot be started ({error.strerror}): the training process "
                    "loads the images itself, which takes longer"
                )
                team = []
            for place in range(count):
                yield _received(*team[place % len(team)]) if team else make(place)
    except MemoryError as error:
        raise RunError(
            "out of memory for the next batch: use smaller batches, or fewer workers"
        ) from error


def _start(
    make: Callable[[int], Any], count: int, workers: int, stack: ExitStack
) -> list[tuple[BaseProcess, socket.socket]]:
    """Processes and the sockets that they are read from; the stack ends and closes them."""
    # Forked processes share the decoded images; where forking is unsafe the platform knows better.
    context = get_context("fork" if sys.platform == "linux" else None)
    team: list[tuple[BaseProcess, socket.socket]] = []
    for number in range(workers):
        ours, theirs = socket.socketpair()
        stack.enter_context(ours)
        with theirs:
            places = range(number, count, workers)
            others = [ours, *(reader for _, reader in team)]
            process = context.Process(
                target=_work, args=(make, places, theirs, others), daemon=True
            )
            process.start()
        stack.callback(_end, process)
        team.append((process, ours))
    return team


def _end(process: BaseProcess) -> None:
    # It holds nothing that would have to be put in order first.
    process.kill()
    process.join()


def _work(
    make: Callable[[int], Any],
    places: Sequence[int],
    writer: socket.socket,
    others: Sequence[socket.socket],
) -> None:
    """Make the values of these places and send them: the life of a process."""
    for reader in others:
        # Held open here as well, it would keep another process from noticing that nobody reads.
        reader.close()
    # Whoever started this process decides when to stop.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    _stand_back()
    ready: queue.Queue[_Parts] = queue.Queue(AHEAD)
    sender = threading.Thread(target=_send_all, args=(writer, ready, len(places)), daemon=True)
    sender.start()
    for place in places:
        try:
            parts = _parts((True, make(place)))
        except (YoloPruneError, OSError, MemoryError) as error:
            parts = _parts((False, error))
        ready.put(parts)
    sender.join()


def _stand_back() -> None:
    """Leave the cores to the training process: one thread, and that only where there is room.

    Where loaders and training share the cores, a training thread that is held up holds up all the
    others.
    """
    import cv2

    cv2.setNumThreads(0)
    torch.set_num_threads(1)
    os.nice(10)


def _parts(value: Any) -> _Parts:
    """A value pickled, and the arrays in it, which are not copied."""
    buffers: list[pickle.PickleBuffer] = []
    body = pickle.dumps(value, protocol=5, buffer_callback=buffers.append)
    return [memoryview(body), *(buffer.raw() for buffer in buffers)]


def _send_all(writer: socket.socket, ready: "queue.Queue[_Parts]", count: int) -> None:
    """Send what is made, each after its number of parts and their lengths (int64)."""
    try:
        for _ in range(count):
            parts = ready.get()
            for head in ([len(parts)], [len(part) for part in parts]):
                writer.sendall(np.array(head, np.int64).data)
            for part in parts:
                writer.sendall(part)
    except OSError:
        # Nobody reads any more.
        os._exit(1)


def _received(process: BaseProcess, reader: socket.socket) -> Any:
    """The next value of a process; raises what its making did, or `RunError` if it is dead."""
    try:
        (count,) = _read(reader, 8).view(np.int64)
        body, *buffers = (_read(reader, size) for size in _read(reader, 8 * count).view(np.int64))
    except (EOFError, ConnectionError):
        process.join(_DYING)
        raise RunError(_obituary(process.exitcode or 0)) from None
    made, value = pickle.loads(body.data, buffers=buffers)
    if not made:
        raise value
    return value


def _read(reader: socket.socket, size: int) -> NDArray[np.uint8]:
    """Exactly so many bytes."""
    data = np.empty(size, np.uint8)
    rest = data.data
    while rest:
        got = reader.recv_into(rest)
        if not got:
            raise EOFError
        rest = rest[got:]
    return data


def _obituary(code: int) -> str:
    if code >= 0:
        return f"a loader process ended with code {code}"
    name = signal.Signals(-code).name
    cause = ", as happens when memory runs out: use fewer workers" if name == "SIGKILL" else ""
    return f"a loader process was killed by {name}{cause}"
