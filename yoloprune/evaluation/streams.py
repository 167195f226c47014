"""Using all cores for many images at once."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import TypeVar

import cv2
import torch

from yoloprune.cores import available_cores

MOST_STREAMS = 8
"""Each holds the feature maps of a batch, and only one at a time is in the Python interpreter."""

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_streams(
    work: Callable[[Item], Result], items: Iterable[Item], *, most: int | None = None
) -> Iterator[Result]:
    """Work on several items at a time, a stream of work a core; results in the items' order.

    Streams never wait for one another. torch's own threads do, in every layer, and where other
    processes use the same cores as well they wait long: on two busy cores a network of a hundred
    layers took 25 times as long in two threads as in one. So each stream has one thread, more only
    where there are twice as many cores as streams. The cores are those that the process may use,
    but not more than `torch.get_num_threads`, which `OMP_NUM_THREADS` sets; `most` limits the
    streams further.

    Raises what `work` raises, in place of its result.
    """
    threads, opencv_threads = torch.get_num_threads(), cv2.getNumThreads()
    cores = min(available_cores(), threads)
    streams = min(cores, most or MOST_STREAMS)
    cv2.setNumThreads(cores if streams == 1 else 1)
    pool = ThreadPoolExecutor(
        streams, "evaluation", partial(torch.set_num_threads, cores // streams)
    )
    waiting: deque[Future[Result]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) > 2 * streams:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
        cv2.setNumThreads(opencv_threads)
        # A part of this setting is the whole process's (MKL's threads).
        torch.set_num_threads(threads)
