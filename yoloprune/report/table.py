"""Numbers as people read them, and tables for a terminal or a Markdown page."""

from collections.abc import Sequence

from rich.table import Table


def change(before: float, after: float) -> str:
    """Relative change in percent with its sign: 10 to 2 is "-80%"."""
    if before == 0:
        return "n/a"
    return f"{100 * (after / before - 1):+.0f}%"


def millions(value: float) -> str:
    """61523734 as "61.5M"; small counts keep more digits: 10196 is "0.0102M"."""
    return f"{_three_digits(value / 1e6)}M"


def billions(value: float) -> str:
    """32644937728 as "32.6G"."""
    return f"{_three_digits(value / 1e9)}G"


def megabytes(value: float) -> str:
    """Bytes as decimal megabytes: 246305388 is "246MB"."""
    return f"{_three_digits(value / 1e6)}MB"


def _three_digits(value: float) -> str:
    return f"{value:.3g}" if value < 1000 else f"{value:,.0f}"


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table; the first column is left-aligned, the others right-aligned."""
    lines = [
        "| " + " | ".join(header) + " |",
        "|" + "|".join(["---"] + ["---:"] * (len(header) - 1)) + "|",
        *("| " + " | ".join(map(str, row)) + " |" for row in rows),
    ]
    return "\n".join(lines) + "\n"


def terminal_table(title: str, header: Sequence[str], rows: Sequence[Sequence[object]]) -> Table:
    """The same table for a terminal."""
    table = Table(title=title, title_justify="left", title_style="bold")
    for number, name in enumerate(header):
        table.add_column(name, justify="right" if number else "left")
    for row in rows:
        table.add_row(*map(str, row))
    return table
