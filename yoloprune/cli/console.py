"""What all commands print with: color on a terminal, plain text in a pipe.

Each text is one line or one cell of a table. File and class names in it may be anything: what is
not visible in them is shown as an escape.
"""

import json
import os
import sys
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence, Sized
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TextIO, TypeVar

import typer
from rich import box
from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
)
from rich.table import Table
from rich.text import Text

from yoloprune.cli.flags import said
from yoloprune.escapes import printable
from yoloprune.report.shown import Shown

_Item = TypeVar("_Item")

BETWEEN_LINES = 60.0
"""Seconds between two lines about long work, where there is no terminal for a bar."""

_PACE = 600.0
"""Seconds of work by which a line estimates the time left."""


def _open_closed_streams() -> None:
    """Open standard streams that are closed (`>&-`) to nowhere, before a file takes their place."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(descriptor)
    for number, name in ((1, "stdout"), (2, "stderr")):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, "w", closefd=False))


class _Console(Console):
    """A console that gives nothing unseen to the terminal."""

    def render_str(self, text: str, **options: Any) -> Text:
        """Whatever is printed as `str`, a cell included, comes through here."""
        return super().render_str(printable(text, self.encoding), **options)


class _Description(ProgressColumn):
    """What a progress bar is about."""

    def render(self, task: Task) -> Text:
        """The task's description."""
        return Text(printable(task.description))


def _console(stream: TextIO, *, stderr: bool) -> Console:
    # In a pipe nothing is wrapped: each statement and each row of a table is one line.
    width = None if stream.isatty() else 1000
    return _Console(stderr=stderr, width=width, markup=False, highlight=False, emoji=False)


_open_closed_streams()
output = _console(sys.stdout, stderr=False)
errors = _console(sys.stderr, stderr=True)


class ConsoleReporter:
    """Bars and lines on stderr; without a terminal a line a minute; `quiet` leaves warnings only.

    Whatever goes on at one time, one within the other, has a bar each.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        self.quiet = quiet
        self._bars: Progress | None = None

    def track(
        self,
        items: Iterable[_Item],
        what: str,
        *,
        total: int | None = None,
        state: Callable[[], str] = lambda: "",
    ) -> Generator[_Item, None, None]:
        """Iterate with a bar."""
        if self.quiet:
            yield from items
            return
        known = len(items) if total is None and isinstance(items, Sized) else total
        with self._shown() as bars, _task(bars, what, known, state) as task:
            for item in items:
                yield item
                bars.advance(task)

    @contextmanager
    def stage(self, what: str) -> Iterator[None]:
        """Show what is going on while it lasts."""
        if self.quiet:
            yield
            return
        with self._shown() as bars, _task(bars, what, None, lambda: ""):
            yield

    def say(self, text: str) -> None:
        """Print a line, unless it is quiet."""
        if not self.quiet:
            errors.print(text, soft_wrap=True)

    def warn(self, text: str) -> None:
        """Print a warning."""
        errors.print(f"warning: {said(text)}", soft_wrap=True)

    @contextmanager
    def _shown(self) -> Iterator[Progress]:
        """The bars, and what moves them while there are any."""
        if self._bars is not None:
            yield self._bars
            return
        terminal = errors.is_terminal
        pace = 30.0 if terminal else _PACE
        bars = Progress(
            *_COLUMNS,
            console=errors,
            transient=True,
            disable=not terminal,
            speed_estimate_period=pace,
        )
        self._bars = bars
        try:
            with bars if terminal else _spoken(bars):
                yield bars
        finally:
            self._bars = None


class _Count(ProgressColumn):
    """How many are done, of how many."""

    def render(self, task: Task) -> Text:
        """Nothing for what is not counted."""
        if task.total is None:
            return Text(f"{task.completed:.0f}" if task.completed else "")
        return Text(f"{task.completed:.0f}/{task.total:.0f}")


class _State(ProgressColumn):
    """How it goes, in the words of whoever does it."""

    def render(self, task: Task) -> Text:
        """What `state` says now."""
        return Text(printable(task.fields["state"]()))


class _Time(ProgressColumn):
    """The time left, or the time it took so far where no end is known."""

    max_refresh = 0.5

    def render(self, task: Task) -> Text:
        """Hours, minutes and seconds."""
        seconds = task.elapsed if task.total is None else task.time_remaining
        return Text("-:--:--" if seconds is None else str(timedelta(seconds=int(seconds))))


_COLUMNS = (_Description(), BarColumn(), _Count(), _State(), _Time())


@contextmanager
def _task(
    bars: Progress, what: str, total: int | None, state: Callable[[], str]
) -> Iterator[TaskID]:
    task = bars.add_task(what, total=total, state=state)
    try:
        yield task
    finally:
        bars.remove_task(task)


@contextmanager
def _spoken(bars: Progress) -> Iterator[None]:
    """Say what the bars would show, a line a minute."""
    finished = threading.Event()

    def speak() -> None:
        while not finished.wait(BETWEEN_LINES):
            for task in bars.tasks:
                errors.print(Text(progress_line(task)), soft_wrap=True)

    threading.Thread(target=speak, daemon=True).start()
    try:
        yield
    finally:
        finished.set()


def progress_line(task: Task) -> str:
    """What a bar would show, in words: what, how much of it is done, and the time left."""
    parts = [str(column.render(task)).strip() for column in (_Description(), _Count(), _State())]
    left, elapsed = task.time_remaining, task.elapsed or 0.0
    parts.append(f"{_duration(elapsed)} so far" if left is None else f"{_duration(left)} left")
    return ", ".join(filter(None, parts))


def _duration(seconds: float) -> str:
    minutes = max(1, round(seconds / 60))
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


def print_table(title: str, header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print a table: framed on a terminal, as Markdown in a pipe."""
    frame = box.HEAVY_HEAD if output.is_terminal else box.MARKDOWN
    table = Table(box=frame, header_style="bold cyan")
    for number, name in enumerate(header):
        table.add_column(name, justify="right" if number else "left", overflow="fold")
    for row in rows:
        table.add_row(*map(str, row))
    output.print(title, style="bold")
    output.print(table)


def print_result(shown: Shown, more: Sequence[str] = (), *, as_json: bool, quiet: bool) -> None:
    """Print a result: its table and statements and `more` of them, its summary, or all as JSON."""
    if as_json:
        print_json(shown.document)
    elif quiet:
        output.print(said(shown.summary), soft_wrap=True)
    else:
        if shown.rows:
            print_table(shown.title, shown.header, shown.rows)
        for line in (*shown.lines, *more):
            output.print(said(line), soft_wrap=True)


def print_json(document: Any) -> None:
    """Print a document as JSON, with nothing that a terminal would add."""
    typer.echo(json.dumps(document, indent=1))
