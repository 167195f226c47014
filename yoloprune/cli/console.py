"""What all commands print with: colour on a terminal, plain text in a pipe."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, TypeVar

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

_Item = TypeVar("_Item")

output = Console()
errors = Console(stderr=True)

CfgPath = Annotated[Path, typer.Argument(metavar="CFG", help="Darknet .cfg file.")]
WeightsPath = Annotated[Path, typer.Argument(metavar="WEIGHTS", help="Darknet .weights file.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print results only, no progress.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")]


def track(items: Iterable[_Item], what: str, total: int | None, quiet: bool) -> Iterator[_Item]:
    """Iterate with a progress bar on stderr; silent with `quiet` or outside a terminal."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    shown = Progress(
        *columns, console=errors, transient=True, disable=quiet or not errors.is_terminal
    )
    with shown as progress:
        yield from progress.track(items, total=total, description=what)
