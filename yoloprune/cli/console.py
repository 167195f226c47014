"""What all commands print with: colour on a terminal, plain text in a pipe.

Each text is one line or one cell of a table. File and class names in it may be anything: what is
not visible in them is shown as an escape.
"""

import json
import os
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, TextIO, TypeVar

import typer
from rich import box
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from yoloprune.escapes import printable

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


class Description(ProgressColumn):
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

CfgPath = Annotated[Path, typer.Argument(metavar="CFG", help="Darknet .cfg file.")]
WeightsPath = Annotated[Path, typer.Argument(metavar="WEIGHTS", help="Darknet .weights file.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print results only, no progress.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")]


@contextmanager
def progress_bar(
    *columns: ProgressColumn, quiet: bool, transient: bool = True
) -> Iterator[Progress]:
    """A progress bar on stderr; without a terminal a line a minute, and nothing with `quiet`."""
    if quiet or errors.is_terminal:
        with Progress(*columns, console=errors, transient=transient, disable=quiet) as bar:
            yield bar
        return
    bar = Progress(*columns, console=errors, disable=True, speed_estimate_period=_PACE)
    finished = threading.Event()

    def speak() -> None:
        while not finished.wait(BETWEEN_LINES):
            for task in bar.tasks:
                errors.print(Text(progress_line(columns, task)), soft_wrap=True)

    threading.Thread(target=speak, daemon=True).start()
    try:
        yield bar
    finally:
        finished.set()


def progress_line(columns: Iterable[ProgressColumn], task: Task) -> str:
    """What a bar would show, in words: what, how much of it is done, and the time left."""
    parts = []
    for column in columns:
        if isinstance(column, Description | TextColumn | MofNCompleteColumn | DownloadColumn):
            parts.append(str(column.render(task)).strip())
    left, elapsed = task.time_remaining, task.elapsed or 0.0
    parts.append(f"{_duration(elapsed)} so far" if left is None else f"{_duration(left)} left")
    return ", ".join(filter(None, parts))


def _duration(seconds: float) -> str:
    minutes = max(1, round(seconds / 60))
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


def track(items: Iterable[_Item], what: str, total: int | None, quiet: bool) -> Iterator[_Item]:
    """Iterate with a progress bar on stderr, or a line a minute; silent with `quiet`."""
    columns = (
        Description(),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with progress_bar(*columns, quiet=quiet) as bar:
        yield from bar.track(items, total=total, description=what)


@contextmanager
def stage(what: str, quiet: bool) -> Iterator[None]:
    """Show on stderr what is going on while it lasts; silent with `quiet`."""
    columns = (Description(), BarColumn(), TimeElapsedColumn())
    with progress_bar(*columns, quiet=quiet) as bar:
        bar.add_task(what, total=None)
        yield


def warn(text: str) -> None:
    """Print a warning to stderr."""
    errors.print(f"warning: {text}", soft_wrap=True)


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


def print_json(document: Any) -> None:
    """Print a document as JSON, with nothing that a terminal would add."""
    typer.echo(json.dumps(document, indent=1))
