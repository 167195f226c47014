"""Elements of the HTML report: tables, figures, code; all text is escaped here."""

import re
from html import escape

from yoloprune.report.results import Table
from yoloprune.report.wording import MISSING

_PHONE_LETTERS = 42
"""Letters, over all columns, of the widest table that a phone shows as a table."""


def table(content: Table) -> str:
    """A table; a narrow screen shows a wide one as a card for each row."""
    columns = zip(content.header, *content.rows, strict=True)
    kind = "cards" if sum(max(map(len, column)) for column in columns) > _PHONE_LETTERS else ""
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in content.header)
    rows = []
    for first, *cells in content.rows:
        line = "".join(
            f'<td data-label="{escape(name)}">{_value(cell)}</td>'
            for name, cell in zip(content.header[1:], cells, strict=True)
        )
        rows.append(f'<tr><th scope="row">{escape(first)}</th>{line}</tr>')
    note = f'<p class="note">{escape(content.note)}</p>' if content.note else ""
    return (
        f'<div class="scroll"><table class="{kind}"><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>{note}"
    )


def _value(cell: str) -> str:
    """A cell's text; the change in brackets is set apart, and a missing value is quiet."""
    value, change = split_change(cell)
    if change:
        return f'<span>{escape(value)} <span class="change">({signed(change)})</span></span>'
    return f'<span class="change">{MISSING}</span>' if cell == MISSING else escape(cell)


def split_change(cell: str) -> tuple[str, str]:
    """A cell's value and the change in brackets behind it, which may be empty."""
    found = re.fullmatch(r"(\S+) \(([-+][\d.]+%?)\)", cell)
    return (found[1], found[2]) if found else (cell, "")


def signed(text: str) -> str:
    """A change with a minus sign instead of a hyphen."""
    return escape(text).replace("-", "&minus;", 1) if text.startswith("-") else escape(text)


def figure(chart: str, caption: str, *, wide: bool = False) -> str:
    """A chart with its caption; a wide one scrolls in a box of its own."""
    box = f'<div class="scroll" tabindex="0">{chart}</div>' if wide else chart
    kind = "wide" if wide else "narrow"
    return f'<figure class="{kind}">{box}<figcaption>{escape(caption)}</figcaption></figure>'


def code(text: str) -> str:
    """A program or command lines, in a box where long lines wrap."""
    return f"<pre><code>{escape(text.rstrip())}</code></pre>"
