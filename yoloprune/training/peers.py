"""Processes that torchrun started together: whether there are others, and who tells an error.

Without torch, for every command asks.
"""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

PATIENCE = 5.0
"""Seconds for which an error is held back that another process may explain better."""


def among_others() -> bool:
    """Whether torchrun started this process as one of several."""
    return "RANK" in os.environ and int(os.environ.get("WORLD_SIZE", "1")) > 1


def is_first() -> bool:
    """Whether this process is alone, or the first of several: it prints."""
    return not among_others() or os.environ["RANK"] == "0"


@contextmanager
def first_speaks() -> Iterator[None]:
    """Hold an error back for `PATIENCE` seconds unless it is the first process's own.

    Bad input fails in all processes alike, and one that ends takes the connection from the others,
    the first included. torchrun ends those that wait as soon as one has failed, so that the user
    reads one error, the one that began it; that of another process alone is told after the wait.
    """
    try:
        yield
    except BaseException as error:
        if among_others() and (_lost_connection(error) or os.environ["RANK"] != "0"):
            time.sleep(PATIENCE)
        raise


def _lost_connection(error: BaseException) -> bool:
    # By name, as importing torch for it takes seconds: torch.distributed.DistError.
    known = {kind.__name__ for kind in type(error).__mro__}
    return type(error) is RuntimeError or "DistError" in known
