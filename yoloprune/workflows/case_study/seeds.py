"""Studies that differ in their seed alone: what each row comes to, and how far it scatters."""

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from yoloprune.documents import read_document
from yoloprune.errors import RunError, UsageError
from yoloprune.report.html import REPORTS
from yoloprune.report.shown import Result, Shown
from yoloprune.report.study import ORIGINAL
from yoloprune.report.table import amount
from yoloprune.report.wording import MISSING, duration

REPORT = next(name for name in REPORTS if name.endswith(".json"))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    """What is read of a row of report.json."""

    name: str
    macs: int | None
    map50: float | None
    map50_coco: float | None
    seconds: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Report:
    title: str
    settings: dict[str, Any]
    rows: tuple[_Row, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """A number of several runs: its mean, its sample deviation (None of a single one), the runs."""

    mean: float
    deviation: float | None
    count: int

    def text(self, form: str) -> str:
        """In words, each number in this form."""
        if self.deviation is None:
            return format(self.mean, form)
        return f"{self.mean:{form}} \N{PLUS-MINUS SIGN} {self.deviation:{form.lstrip('+')}}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Seeded:
    """A row over the seeds.

    `change` is the difference in `map50` from the original of the same seed.
    """

    name: str
    macs: Spread | None
    map50: Spread | None
    change: Spread | None
    map50_coco: Spread | None
    seconds: Spread | None


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Seeds(Result):
    """Studies of several seeds: their rows, in the order of the first."""

    title: str
    seeds: tuple[int, ...]
    rows: tuple[Seeded, ...]

    def shown(self) -> Shown:
        """A line a row: means and sample deviations."""
        count = len(self.seeds)
        outcome = max((row.map50.mean for row in self.rows[1:] if row.map50), default=0.0)
        return Shown(
            title=f"{self.title}: mean \N{PLUS-MINUS SIGN} deviation of {count} seeds",
            summary=f"{self.title}: {count} seeds, best mAP@0.5 of a row {outcome:.3f}",
            header=(
                "Network", "MACs", "mAP@0.5 (case-study)", "from the original", "(coco)",
                "Computing",
            ),
            rows=[
                (
                    row.name,
                    MISSING if row.macs is None else amount(round(row.macs.mean)),
                    _text(row.map50, ".3f"),
                    MISSING if row.name == ORIGINAL else _text(row.change, "+.3f"),
                    _text(row.map50_coco, ".3f"),
                    MISSING if row.seconds is None else duration(row.seconds.mean),
                )
                for row in self.rows
            ],
            document=asdict(self),
        )  # fmt: skip


def read_seeds(runs: Sequence[Path]) -> Seeds:
    """What the reports of several studies come to.

    Raises `RunError` for a folder without a report, `UsageError` where studies differ in more than
    their seed, or not in that.
    """
    reports = [read_document(run / REPORT, _Report, fault=RunError) for run in runs]
    settings = [{**report.settings} for report in reports]
    seeds = [own.pop("seed", None) for own in settings]
    if len({*seeds}) < len(seeds):
        raise UsageError(f"{runs[0]} and others: two of the studies have the same seed")
    for run, own in zip(runs, settings, strict=True):
        if changed := [name for name in own if own[name] != settings[0].get(name)]:
            raise UsageError(f"{run}: differs from {runs[0]} in more than the seed: {changed[0]}")
    first = {row.name: row for row in reports[0].rows}
    return Seeds(
        title=reports[0].title,
        seeds=tuple(seeds),
        rows=tuple(_seeded(name, reports) for name in first),
    )


def _seeded(name: str, reports: Sequence[_Report]) -> Seeded:
    rows = [{row.name: row for row in report.rows} for report in reports]
    pairs = [(own[ORIGINAL], own[name]) for own in rows if {ORIGINAL, name} <= own.keys()]
    return Seeded(
        name=name,
        macs=_spread([row.macs for _, row in pairs]),
        map50=_spread([row.map50 for _, row in pairs]),
        change=_spread(
            [
                row.map50 - before.map50
                for before, row in pairs
                if row.map50 is not None and before.map50 is not None
            ]
        ),
        map50_coco=_spread([row.map50_coco for _, row in pairs]),
        seconds=_spread([row.seconds for _, row in pairs]),
    )


def _spread(values: Sequence[float | None]) -> Spread | None:
    known = [value for value in values if value is not None]
    if not known:
        return None
    deviation = statistics.stdev(known) if len(known) > 1 else None
    return Spread(mean=statistics.fmean(known), deviation=deviation, count=len(known))


def _text(spread: Spread | None, form: str) -> str:
    return MISSING if spread is None else spread.text(form)
