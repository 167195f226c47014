"""The study's figures in words: numbers as the tables print them, and sentences."""

from collections.abc import Mapping
from typing import Any

from yoloprune.counting import counted
from yoloprune.report.study import Study
from yoloprune.report.table import amount

MISSING = "\N{EN DASH}"
"""Stands for what was not measured."""


def timed(milliseconds: float) -> str:
    """Milliseconds: "7.7ms"; two decimals under one millisecond."""
    return f"{milliseconds:.{1 if milliseconds >= 1 else 2}f}ms"


def duration(seconds: float) -> str:
    """Of computing: "12s", "3.5min", "2.1h"."""
    if seconds < 60:
        return f"{seconds:.0f}s"
    return f"{seconds / 60:.1f}min" if seconds < 3600 else f"{seconds / 3600:.1f}h"


def average(value: float) -> str:
    """An AP with up to four decimals: "0.7722", "0.775"."""
    return f"{value:.4f}".removesuffix("0")


def difference(before: float, after: float) -> str:
    """Change of an AP with its sign and three decimals: "+0.003"."""
    # Adding 0 makes a negative zero positive.
    return f"{round(after - before, 3) + 0.0:+.3f}"


def headline(study: Study) -> str:
    """The outcome in one sentence, from what was measured."""
    before = study.original
    after = study.outcome
    if before is None or after is None:
        return "The study has not come to its pruned network yet."
    parts = []
    if before.params and after.params is not None:
        parts.append(f"has {amount(after.params)} of {amount(before.params)} parameters")
    if before.macs and after.macs is not None:
        share = after.macs / before.macs
        parts.append(f"needs {amount(after.macs)} of {amount(before.macs)} MACs ({share:.0%})")
    times = before.median_ms(study.engine), after.median_ms(study.engine)
    if times[0] is not None and times[1] is not None:
        parts.append(f"takes {timed(times[1])} instead of {timed(times[0])} for an image")
    maps = before.map50(study.protocol), after.map50(study.protocol)
    if maps[0] is not None and maps[1] is not None:
        parts.append(
            f"reaches mAP@0.5 {average(maps[1])} (protocol {study.protocol}) where the original "
            f"has {average(maps[0])}"
        )
    if not parts:
        return "Nothing was measured yet."
    joined = parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
    return f"The {after.name.lower()} network {joined}."


def notes(study: Study) -> list[str]:
    """What the rows are, where their names do not say it, and how far their mAP can be trusted."""
    found = [f"{row.name}: {row.note}" for row in study.measurements if row.note]
    if study.dataset is not None and any(row.accuracy for row in study.measurements):
        objects = study.dataset.objects.get("test", 0)
        runs = "Each row is one training run with one seed, judged" if study.training else "Judged"
        found.append(
            f"{runs} by {counted(objects, 'object')}: differences in the third decimal of mAP are "
            "within noise."
        )
    return found


def dataset_sentence(study: Study) -> str:
    """Name and size of the data, and what was wrong with it."""
    data = study.dataset
    if data is None:
        return ""
    parts = ", ".join(
        f"{count:,} {split}"
        # Images without labels have objects, too: nobody counted them.
        + (f" ({counted(data.objects[split], 'object')})" if split in data.objects else "")
        for split, count in data.images.items()
    )
    more = len(data.classes) - 8
    names = ", ".join(data.classes[:8]) + (f" and {more} more" if more > 0 else "")
    classes = f"{counted(len(data.classes), 'class')}: {names}"
    return " ".join([f"{data.name}: images {parts}; {classes}.", *map(_warning, data.warnings)])


def _warning(text: str) -> str:
    return f"Warning: {text}."


def flattened(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Nested settings as rows of (dotted name, value)."""
    rows: list[tuple[str, str]] = []
    for name, value in values.items():
        if isinstance(value, Mapping):
            rows += flattened(value, f"{prefix}{name}.")
        else:
            rows.append((f"{prefix}{name}", _shown(value)))
    return rows


def _shown(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(_shown, value)) or MISSING
    return MISSING if value is None else str(value)
