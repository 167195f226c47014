"""What all commands print with: colour on a terminal, plain text in a pipe.

Each text is one line or one cell of a table. File and class names in it may be anything: what is
not visible in them is shown as an escape.
"""

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, TextIO, TypeVar

import typer
from rich import box
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from yoloprune.escapes import printable

_Item = TypeVar("_Item")


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


output = _console(sys.stdout, stderr=False)
errors = _console(sys.stderr, stderr=True)

CfgPath = Annotated[Path, typer.Argument(metavar="CFG", help="Darknet .cfg file.")]
WeightsPath = Annotated[Path, typer.Argument(metavar="WEIGHTS", help="Darknet .weights file.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print results only, no progress.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")]


def track(items: Iterable[_Item], what: str, total: int | None, quiet: bool) -> Iterator[_Item]:
    """Iterate with a progress bar on stderr; silent with `quiet` or outside a terminal."""
    columns = (
        Description(),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    shown = Progress(
        *columns, console=errors, transient=True, disable=quiet or not errors.is_terminal
    )
    with shown as progress:
        yield from progress.track(items, total=total, description=what)


@contextmanager
def stage(what: str, quiet: bool) -> Iterator[None]:
    """Show on stderr what is going on while it lasts; silent with `quiet` or outside a terminal."""
    columns = (Description(), BarColumn(), TimeElapsedColumn())
    hidden = quiet or not errors.is_terminal
    with Progress(*columns, console=errors, transient=True, disable=hidden) as progress:
        progress.add_task(what, total=None)
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
