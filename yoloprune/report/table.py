"""Numbers as people read them, and tables for a Markdown page."""

from collections.abc import Sequence

from yoloprune.escapes import printable


def change(before: float, after: float) -> str:
    """Relative change in percent with its sign: 10 to 2 is "-80%"."""
    if before == 0:
        return "n/a"
    return f"{100 * (after / before - 1):+.0f}%"


def amount(value: float) -> str:
    """Three digits and a unit: 61523734 is "61.5M", 32644937728 is "32.6G"."""
    for factor, unit in ((1e9, "G"), (1e6, "M"), (1e3, "K")):
        # 999,500 rounds to 1.00M, not to 1000K.
        if value >= 0.9995 * factor:
            return f"{float(f'{value / factor:.3g}'):g}{unit}"
    return f"{value:g}"


def file_size(count: int) -> str:
    """Bytes with decimal units: 246305388 is "246MB"."""
    return f"{amount(count)}B"


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table; the first column is left-aligned, the others right-aligned."""
    lines = [
        "| " + " | ".join(header) + " |",
        "|" + "|".join(["---"] + ["---:"] * (len(header) - 1)) + "|",
        *("| " + " | ".join(printable(str(cell)) for cell in row) + " |" for row in rows),
    ]
    return "\n".join(lines) + "\n"
