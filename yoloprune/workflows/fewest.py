"""Which of several things something fails with, or does not go without."""

from collections.abc import Callable, Sequence
from typing import TypeVar

T = TypeVar("T")


def culprits(items: Sequence[T], fails: Callable[[Sequence[T]], bool]) -> Sequence[T]:
    """The fewest of these with which something fails; none where it goes with all of them."""
    if not items or not fails(items):
        return ()
    half = len(items) // 2
    parts = (items[:half], items[half:]) if half else ()
    # Where either part goes well alone, together they do not.
    return [own for part in parts for own in culprits(part, fails)] or items


def needed(
    items: Sequence[T], goes: Callable[[Sequence[T]], bool], others: Sequence[T] = ()
) -> Sequence[T]:
    """As few of these as will do, beside `others`, for something to go, as it does with all."""
    if not items or goes(others):
        return ()
    if len(items) < 2:
        return items
    half = len(items) // 2
    first = needed(items[:half], goes, (*others, *items[half:]))
    return (*first, *needed(items[half:], goes, (*others, *first)))
