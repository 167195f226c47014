"""How a result is shown: in a terminal, in a Python session, in a notebook, as JSON."""

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from yoloprune.report.table import markdown_table


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A result as a table under a title and statements below it.

    `summary` says the most important in one line; `document` is all of it, as JSON has it.
    """

    title: str
    summary: str
    header: Sequence[str] = ()
    rows: Sequence[Sequence[object]] = ()
    lines: Sequence[str] = ()
    document: Mapping[str, Any] = field(default_factory=dict)


class Result:
    """Something that shows itself, however it is looked at."""

    __slots__ = ()

    def shown(self) -> Shown:
        """What is shown of it."""
        raise NotImplementedError

    def __str__(self) -> str:
        """The table and the statements, as Markdown."""
        shown = self.shown()
        table = markdown_table(shown.header, shown.rows) if shown.rows else ""
        return f"{shown.title}\n{table}" + "".join(f"{line}\n" for line in shown.lines)

    def __repr__(self) -> str:
        """The summary."""
        return f"<{type(self).__name__} {self.shown().summary}>"

    def _repr_html_(self) -> str:
        shown = self.shown()
        names = "".join(f"<th>{html.escape(name)}</th>" for name in shown.header)
        rows = "".join(
            "<tr>" + "".join(f"<td>{html.escape(str(cell))}</td>" for cell in row) + "</tr>"
            for row in shown.rows
        )
        below = "".join(f"<p>{html.escape(line)}</p>" for line in shown.lines)
        caption = f"<caption>{html.escape(shown.title)}</caption>"
        return f"<table>{caption}<tr>{names}</tr>{rows}</table>{below}"
