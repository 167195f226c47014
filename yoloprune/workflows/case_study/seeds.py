"""Studies that differ in their seed alone: what each row comes to, and how far it scatters.

Two things make a difference from the original uncertain, and both are shown: training (the
deviation over the seeds) and which test images there are (the interval of a paired bootstrap: in
every draw the same images for all networks of all seeds, of which the mean over seeds counts).
"""

import math
import statistics
from collections.abc import Iterator, Sequence
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
from yoloprune.workflows.case_study.data import SUMMARY, read_summary
from yoloprune.workflows.case_study.measurements import (
    EVALUATED,
    evaluation_file,
    read_accuracy,
)
from yoloprune.workflows.stages import read_manifest

NOT_EVERYWHERE = frozenset({"epochs", "learning_rate", "the test images' files", "the network"})
"""What is compared only where both have it: these settings go with controls of one's own."""

REPORT = next(name for name in REPORTS if name.endswith(".json"))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    """What is read of a row of report.json."""

    name: str
    macs: int | None
    map50: float | None
    map50_coco: float | None
    seconds: float | None = None

    def __post_init__(self) -> None:
        for value in (self.map50, self.map50_coco, self.seconds):
            if value is not None and not 0 <= value < math.inf:
                raise ValueError(f"row {self.name[:40]!r} has a figure of {value:g}")


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

    def __post_init__(self) -> None:
        names = [row.name for row in self.rows]
        if len({*names}) < len(names):
            raise ValueError("two rows have the same name")

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
        plain, mean = form.lstrip("+"), format(self.mean, form)
        if not float(mean):
            # A change that rounds to nothing has no sign.
            mean = format(0.0, plain)
        if self.deviation is None:
            return mean
        return f"{mean} \N{PLUS-MINUS SIGN} {self.deviation:{plain}}"


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
                *(line for row in self.rows for line in _fewer(row, count)),
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
    first, *others = (
        report.compared() | _started_from(run) for run, report in zip(runs, reports, strict=True)
    )
    for run, own in zip(runs[1:], others, strict=True):
        for name in dict.fromkeys((*first, *own)):
            known = {name} <= first.keys() & own.keys() or name not in NOT_EVERYWHERE
            if known and own.get(name) != first.get(name):
                raise UsageError(f"{run}: differs from {runs[0]} in more than the seed: {name}")
    names = dict.fromkeys(row.name for report in reports for row in report.rows)
    return Seeds(
        title=reports[0].title,
        seeds=tuple(seeds),
        rows=tuple(_seeded(name, runs, reports) for name in names),
    )


def _started_from(run: Path) -> dict[str, Any]:
    """What a report does not say of what its study began with, as far as the folder has it."""
    found: dict[str, Any] = {}
    if (run / "data" / SUMMARY).exists():
        found["the test images' files"] = read_summary(run).sha256.get("test")
    if (manifest := read_manifest(run / "dense")) is not None:
        starts = ("dense", "backbone", "transfer")
        found["the network"] = [manifest.settings.get(name) for name in starts]
    return found


def _gain(name: str, runs: Sequence[Path]) -> tuple[float, float] | None:
    """Between which values the mean over these seeds of a row's difference from the original is."""
    changes = []
    for run in runs:
        ours, theirs = (_draws(run, row) for row in (name, ORIGINAL))
        if ours is None or theirs is None:
            return None
        changes.append((ours, theirs))
    if not changes or len({len(draws) for pair in changes for draws in pair}) > 1:
        return None
    return interval(np.mean([ours - theirs for ours, theirs in changes], axis=0))


def _draws(run: Path, row: str) -> Floats | None:
    path = run / EVALUATED / evaluation_file(row)
    if not path.exists():
        return None
    details = read_accuracy(path)["case-study"].details
    return None if details is None else details.draws


def _seeded(name: str, runs: Sequence[Path], reports: Sequence[_Report]) -> Seeded:
    rows = [{row.name: row for row in report.rows} for report in reports]
    pairs = {
        run: (own[ORIGINAL], own[name])
        for run, own in zip(runs, rows, strict=True)
        if {ORIGINAL, name} <= own.keys()
    }
    changes = {
        run: row.map50 - before.map50
        for run, (before, row) in pairs.items()
        if row.map50 is not None and before.map50 is not None
    }
    return Seeded(
        name=name,
        macs=_spread([row.macs for _, row in pairs.values()]),
        map50=_spread([row.map50 for _, row in pairs.values()]),
        change=_spread([*changes.values()]),
        # Of the same seeds as the change.
        gain=None if name == ORIGINAL else _gain(name, [*changes]),
        map50_coco=_spread([row.map50_coco for _, row in pairs.values()]),
        seconds=_spread([row.seconds for _, row in pairs.values()]),
    )


def _spread(values: Sequence[float | None]) -> Spread | None:
    known = [value for value in values if value is not None]
    if not known:
        return None
    deviation = statistics.stdev(known) if len(known) > 1 else None
    return Spread(mean=statistics.fmean(known), deviation=deviation, count=len(known))


def _fewer(row: Seeded, count: int) -> Iterator[str]:
    """What of a row is of fewer seeds than there are, or than the row is."""
    parts = {"": row.map50, ", from the original": row.change, ", by coco": row.map50_coco}
    for what, spread in parts.items():
        if spread is not None and spread.count != count:
            yield f"{row.name}{what}: of {counted(spread.count, 'seed')} alone"
        count = count if what or spread is None else spread.count


def _text(spread: Spread | None, form: str) -> str:
    return MISSING if spread is None else spread.text(form)
