"""How library code speaks: what it does, how far it is, what is odd about what it was given.

Everything that takes long or may find something odd takes a `Reporter`. Nothing is said unless one
is given: the command line gives one that draws bars.
"""

from collections.abc import Callable, Generator, Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol, TypeVar, runtime_checkable

_Item = TypeVar("_Item")


def _nothing() -> str:
    return ""


@runtime_checkable
class Reporter(Protocol):
    """Who is told how work goes on."""

    def track(
        self,
        items: Iterable[_Item],
        what: str,
        *,
        total: int | None = None,
        state: Callable[[], str] = _nothing,
    ) -> Generator[_Item, None, None]:
        """The items, one by one, and how many of `total` (by default their number) are done.

        `state` is asked for further words about how it goes.
        """

    def stage(self, what: str) -> AbstractContextManager[None]:
        """Entered while something is done whose end cannot be foretold."""

    def say(self, text: str) -> None:
        """A line about what is going on."""

    def warn(self, text: str) -> None:
        """A line about something that is odd, though it can be worked with."""


class Silent:
    """A reporter that says nothing."""

    def track(
        self,
        items: Iterable[_Item],
        what: str,
        *,
        total: int | None = None,
        state: Callable[[], str] = _nothing,
    ) -> Generator[_Item, None, None]:
        """The items."""
        yield from items

    def stage(self, what: str) -> AbstractContextManager[None]:
        """Does nothing."""
        return nullcontext()

    def say(self, text: str) -> None:
        """Does nothing."""

    def warn(self, text: str) -> None:
        """Does nothing."""


SILENT: Reporter = Silent()
"""What library code speaks to unless it is told otherwise."""


class WarnsOnce(Silent):
    """Passes each warning on to another reporter once, and nothing else."""

    def __init__(self, reporter: Reporter) -> None:
        self.reporter = reporter
        self.told: set[str] = set()

    def warn(self, text: str) -> None:
        """Pass it on, unless that was done."""
        if text not in self.told:
            self.told.add(text)
            self.reporter.warn(text)
