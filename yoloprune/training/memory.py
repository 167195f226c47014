"""Out of memory: find the batch that would have fitted."""

from collections.abc import Callable

from yoloprune.memory import is_out_of_memory


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
