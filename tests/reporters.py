"""A reporter that remembers what it was told."""

from collections.abc import Callable, Generator, Iterable
from typing import Any

from yoloprune.reporter import Silent


class Heard(Silent):
    """Keeps what was said and warned of; calls hooks with each item and each line."""

    def __init__(
        self,
        on_item: Callable[[Any], None] = lambda item: None,
        on_line: Callable[[str], None] = lambda line: None,
    ) -> None:
        self.lines: list[str] = []
        self.warnings: list[str] = []
        self.tracked: list[str] = []
        self.on_item, self.on_line = on_item, on_line

    def track(self, items: Iterable[Any], what: str, **options: Any) -> Generator[Any, None, None]:
        """The items, each after its hook."""
        self.tracked.append(what)
        for item in items:
            self.on_item(item)
            yield item

    def say(self, text: str) -> None:
        """Keep it."""
        self.lines.append(text)
        self.on_line(text)

    def warn(self, text: str) -> None:
        """Keep it."""
        self.warnings.append(text)
