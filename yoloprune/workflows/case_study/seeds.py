"""Studies that differ in their seed alone: what each row comes to, and how far it scatters.

Two things make a difference from the original uncertain, and both are shown: training (the
deviation over the seeds) and which test images there are (the interval of a paired bootstrap: in
every draw the same images for all networks of all seeds, of which the mean over seeds counts).
"""

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from yoloprune.counting import counted
from yoloprune.documents import read_document
from yoloprune.errors import RunError, UsageError
from yoloprune.evaluation.average_precision import Floats
from yoloprune.evaluation.details import CONFIDENCE, interval
from yoloprune.report.html import REPORTS
from yoloprune.report.shown import Result, Shown
from yoloprune.report.study import ORIGINAL
from yoloprune.report.table import amount
from yoloprune.report.wording import MISSING, duration
from yoloprune.workflows.case_study.measurements import (
    EVALUATED,
    evaluation_file,
    read_accuracy,
)

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
class _Data:
    name: str
    images: dict[str, int]
    objects: dict[str, int]
    classes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Report:
    title: str
    settings: dict[str, Any]
    rows: tuple[_Row, ...]
    dataset: _Data | None = None

    @property
    def seed(self) -> Any:
        return self.settings.get("seed")

    def compared(self) -> dict[str, Any]:
        """What studies have in common that differ in their seed alone."""
        # A row that some have is of those.
        found = {
            name: value for name, value in self.settings.items() if name not in ("seed", "controls")
        }
        found["title"] = self.title
        found["MACs of the original"] = [row.macs for row in self.rows if row.name == ORIGINAL]
        if (data := self.dataset) is not None:
            # The seed says which of the others are held out.
            found["test images"] = data.name, data.images.get("test"), data.objects.get("test")
            found["classes"] = data.classes
        return found


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

    `change` is the difference in `map50` from the original of the same seed, `gain` between which
    two values its mean is with `CONFIDENCE` in draws of the test images: None where these are not
    there.
    """

    name: str
    macs: Spread | None
    map50: Spread | None
    change: Spread | None
    gain: tuple[float, float] | None
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
                "Network", "MACs", "mAP@0.5 (case-study)", "from the original", "over images",
                "(coco)", "Computing",
            ),
            rows=[
                (
                    row.name,
                    MISSING if row.macs is None else amount(round(row.macs.mean)),
                    _text(row.map50, ".3f"),
                    MISSING if row.name == ORIGINAL else _text(row.change, "+.3f"),
                    MISSING if row.gain is None else "[{:+.3f}, {:+.3f}]".format(*row.gain),
                    _text(row.map50_coco, ".3f"),
                    MISSING if row.seconds is None else duration(row.seconds.mean),
                )
                for row in self.rows
            ],
            lines=[
                *(
                    f"{row.name}: of {counted(row.map50.count, 'seed')} alone"
                    for row in self.rows
                    if row.map50 is not None and row.map50.count < count
                ),
                "over images: where the mean over seeds of the difference from the original is, "
                f"with {CONFIDENCE:.0%} confidence, by a paired bootstrap over the test images",
            ],
            document=asdict(self),
        )  # fmt: skip


def read_seeds(runs: Sequence[Path]) -> Seeds:
    """What the reports of several studies come to.

    Raises `RunError` for a folder without a report, `UsageError` where studies differ in more than
    their seed, or not in that.
    """
    reports = [read_document(run / REPORT, _Report, fault=RunError) for run in runs]
    seeds = [report.seed for report in reports]
    for run, seed in zip(runs, seeds, strict=True):
        if type(seed) is not int:
            raise RunError(f"{run / REPORT}: its seed is {seed!r}, no whole number")
    if len({*seeds}) < len(seeds):
        raise UsageError(f"{runs[0]} and others: two of the studies have the same seed")
    first = reports[0].compared()
    for run, report in zip(runs, reports, strict=True):
        own = report.compared()
        changed = [name for name in (*first, *own) if own.get(name) != first.get(name)]
        if changed:
            raise UsageError(f"{run}: differs from {runs[0]} in more than the seed: {changed[0]}")
    names = dict.fromkeys(row.name for report in reports for row in report.rows)
    return Seeds(
        title=reports[0].title,
        seeds=tuple(seeds),
        rows=tuple(_seeded(name, reports, _gain(name, runs)) for name in names),
    )


def _gain(name: str, runs: Sequence[Path]) -> tuple[float, float] | None:
    """Between which values the mean over seeds of a row's difference from the original is."""
    if name == ORIGINAL:
        return None
    changes = []
    for run in runs:
        ours, theirs = (_draws(run, row) for row in (name, ORIGINAL))
        if ours is not None and theirs is not None and len(ours) == len(theirs):
            changes.append(ours - theirs)
    if not changes or len({len(change) for change in changes}) > 1:
        return None
    return interval(np.mean(changes, axis=0))


def _draws(run: Path, row: str) -> Floats | None:
    path = run / EVALUATED / evaluation_file(row)
    if not path.exists():
        return None
    details = read_accuracy(path)["case-study"].details
    return None if details is None else details.draws


def _seeded(name: str, reports: Sequence[_Report], gain: tuple[float, float] | None) -> Seeded:
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
        gain=gain,
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
