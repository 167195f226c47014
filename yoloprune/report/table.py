"""Numbers as people read them, and tables for a Markdown page."""

from collections.abc import Sequence

from yoloprune.escapes import printable


def change(before: float, after: float) -> str:
    """Relative change in percent with its sign: 10 to 2 is "-80%"."""
    if before == 0:
        return "n/a"
    return f"{100 * (after / before - 1):+.0f}%"


def amount(value: float) -> str:
    """A count with one decimal and its unit: 61523734 is "61.5M", 32.8e9 is "32.8B"."""
    for factor, unit in ((1e9, "B"), (1e6, "M"), (1e3, "K")):
        # 999,950 rounds to 1.0M, not to 1000.0K.
        if value >= 0.99995 * factor:
            return f"{value / factor:.1f}{unit}"
    return f"{value:g}"


def file_size(count: float) -> str:
    """Bytes with decimal units: 246400000 is "246.4MB"; thousands of millions are GB."""
    return amount(count).replace("B", "G") + "B"


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table; the first column is left-aligned, the others right-aligned."""
    lines = [
        "| " + " | ".join(header) + " |",
        "|" + "|".join(["---"] + ["---:"] * (len(header) - 1)) + "|",
        *("| " + " | ".join(printable(str(cell)) for cell in row) + " |" for row in rows),
    ]
    return "\n".join(lines) + "\n"
