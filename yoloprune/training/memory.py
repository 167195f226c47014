"""Out of memory: recognise it, and find the batch that would have fitted."""

from collections.abc import Callable

import torch


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception says that memory, of a GPU or of the machine, did not suffice."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    # On a CPU torch raises a RuntimeError, known by its text alone.
    return isinstance(error, RuntimeError) and "allocate memory" in str(error)


def largest_fitting(attempt: Callable[[int], None], failed: int) -> int:
    """The first of failed / 2, failed / 4, ... images that `attempt` has memory for; 0 if none."""
    count = failed // 2
    while count and not _fits(attempt, count):
        count //= 2
    return count


def _fits(attempt: Callable[[int], None], count: int) -> bool:
    try:
        attempt(count)
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        return False
    return True
