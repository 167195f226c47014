"""The study's figures in words: numbers as the tables print them, and sentences."""

from collections.abc import Mapping
from typing import Any

from yoloprune.counting import counted
from yoloprune.escapes import printable
from yoloprune.evaluation.details import CONFIDENCE
from yoloprune.report.study import HEADLINE_ENGINE, Accuracy, Study
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


def bounded(value: float, bounds: tuple[float, float] | None) -> str:
    """An AP with its interval, in the two decimals that mean something: "0.86 [0.82, 0.90]"."""
    if bounds is None:
        return average(value)
    return f"{value:.2f} [{bounds[0]:.2f}, {bounds[1]:.2f}]"


def signed(value: float) -> str:
    """A change of an AP in two decimals: "-0.01", and "0.00" where these show none."""
    rounded = round(value, 2)
    return f"{rounded:+.2f}" if rounded else "0.00"


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
        where = f" in {study.engine}" if study.engine == HEADLINE_ENGINE else ""
        parts.append(f"takes {timed(times[1])} instead of {timed(times[0])} for an image{where}")
    found = before.accuracy.get(study.protocol), after.accuracy.get(study.protocol)
    if found[0] is not None and found[1] is not None:
        parts.append(_accuracy(study, found[0], found[1]))
    if not parts:
        return "Nothing was measured yet."
    joined = parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
    return f"The {after.name.lower()} network {joined}."


def _accuracy(study: Study, before: Accuracy, after: Accuracy) -> str:
    bounds = after.gain(before)
    if before.map50 == 0:
        return (
            f"reaches mAP@0.5 {average(after.map50)} (protocol {study.protocol}), but nothing "
            "follows from it: the original finds nothing"
        )
    if bounds is None:
        return (
            f"reaches mAP@0.5 {average(after.map50)} (protocol {study.protocol}) where the "
            f"original has {average(before.map50)}"
        )
    data = study.dataset
    judged = "test" if data is None else data.judged
    images = 0 if data is None else data.images.get(judged, 0)
    return (
        f"reaches mAP@0.5 {after.map50:.2f} where the original has {before.map50:.2f}: a change "
        f"of {signed(after.map50 - before.map50)}, between {signed(bounds[0])} and "
        f"{signed(bounds[1])} with {CONFIDENCE:.0%} confidence (protocol {study.protocol}, paired "
        f"bootstrap over {counted(images, f'{judged} image')})"
    )


def notes(study: Study) -> list[str]:
    """What the rows are, where their names do not say it, and how far their mAP can be trusted."""
    found = [f"{row.name}: {row.note}" for row in study.measurements if row.note]
    if study.dataset is not None and any(row.accuracy for row in study.measurements):
        objects = study.dataset.objects.get(study.dataset.judged, 0)
        runs = "Trained once, with one seed, judged" if study.training else "Judged"
        drawn = any(each.details for row in study.measurements for each in row.accuracy.values())
        chance = (
            f"mAP is in the brackets with {CONFIDENCE:.0%} confidence, as far as chance in the "
            "choice of images goes"
            if drawn
            else "differences in the third decimal of mAP are within noise"
        )
        found.append(f"{runs} by {counted(objects, 'object')}: {chance}.")
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
    names = ", ".join(map(printable, data.classes[:8])) + (f" and {more} more" if more > 0 else "")
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


def plain(name: str) -> str:
    """A setting's name as people say it: "finetune_epochs" is "Fine-tuning epochs"."""
    parts = (
        " ".join(_WORDS.get(word, word) for word in part.split("_")) for part in name.split(".")
    )
    words = ": ".join(parts)
    return words[:1].upper() + words[1:]


_WORDS = {"finetune": "fine-tuning", "keep": "kept", "macs": "MACs", "params": "parameters"}
"""Words of settings' names that people say otherwise."""


def _shown(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(_shown, value)) or MISSING
    return MISSING if value is None else str(value)
