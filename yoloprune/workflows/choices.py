"""Settings that are one of a few words."""

from enum import StrEnum
from typing import TypeVar

from yoloprune.errors import UsageError

_Choice = TypeVar("_Choice", bound=StrEnum)


class Schedule(StrEnum):
    """How much goes with each step.

    `LINEAR`: equal shares of the dense network. `CUBIC`: much at first, little at the end, in as
    many steps (M. Zhu and S. Gupta, "To prune, or not to prune", 2017).
    """

    LINEAR = "linear"
    CUBIC = "cubic"


def chosen(kind: type[_Choice], value: str, setting: str) -> _Choice:
    """The member that a word names; raises `UsageError` for another word."""
    known = {member.value: member for member in kind}
    if value not in known:
        raise UsageError(f"`{setting}` {value!r} is unknown (known: {', '.join(known)})")
    return known[value]
