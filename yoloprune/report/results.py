"""The study's tables as text, the same on every page."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial

from yoloprune.counting import counted
from yoloprune.engines.benchmark import follows_macs
from yoloprune.evaluation.average_precision import best_f1
from yoloprune.evaluation.details import CONFIDENCE
from yoloprune.report.study import ORIGINAL, Measurement, Study
from yoloprune.report.table import amount, change, file_size
from yoloprune.report.wording import (
    MISSING,
    average,
    bounded,
    difference,
    duration,
    signed,
    timed,
)

CHANGE = "From the original"
"""The column of differences in mAP."""

COSTS = ("Network", "Params", "Size", "MACs", "FLOPs")
SHOWN = ("Params", "MACs")
"""The costs that a page's first table has."""

CHANGES_NOTE = (
    "In round brackets: the change from the original. In square ones: between which values it is "
    f"with {CONFIDENCE:.0%} confidence, by a bootstrap over images, a paired one of changes."
)
MACS_NOTE = (
    "MACs are the multiply-accumulates of convolutions and matrix products for one image (B: "
    "billions); FLOPs are 2 \N{MULTIPLICATION SIGN} MACs. Size is that of the file's parameters."
)
TORCH = "torch eager"
"""The engine whose time stands beside that of the results table's."""

CASE_STUDY_NOTE = (
    "Image padded to a square with black, resized by nearest neighbor; objectness at least 0.01; "
    "suppression at IoU 0.5 that merges boxes; AP over all points of the curve at IoU 0.5, ranked "
    "by objectness. Precision and recall are those at the best F1."
)
COCO_NOTE = (
    "Image resized as the network reads it; pycocotools' AP at IoU 0.5 (mAP@0.5) and averaged over "
    "IoU 0.5 to 0.95 (mAP@0.5:0.95), in the pixels of the original images."
)
_FOLLOWS = {
    True: "Time follows the MACs.",
    False: "Time does not follow the MACs; prune --keep-ms tells what it follows.",
}
PROTOCOLS_NOTE = (
    "The two protocols give different numbers for the same network: compare only within one of "
    "them."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A heading, column names, rows of cells, and what a reader must know to read them."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""

    def columns(self, names: Iterable[str]) -> "Table":
        """The columns of these names that there are, in this order."""
        places = [self.header.index(name) for name in names if name in self.header]
        return replace(
            self,
            header=tuple(self.header[place] for place in places),
            rows=tuple(tuple(row[place] for place in places) for row in self.rows),
        )


def results_table(study: Study) -> Table:
    """The table of the case study: cost, latency and mAP of every network."""
    columns: list[tuple[str, _Read, _Show, _Change | None]] = [
        ("Params", lambda row: row.params, amount, change),
        ("Size", lambda row: row.weight_bytes, file_size, change),
        ("MACs", lambda row: row.macs, amount, change),
        ("FLOPs", lambda row: None if row.macs is None else 2 * row.macs, amount, None),
        ("Inference", lambda row: row.median_ms(study.engine), timed, change),
        (
            "In torch",
            lambda row: None if study.engine == TORCH else row.median_ms(TORCH),
            timed,
            change,
        ),
    ]
    columns = [
        column
        for column in columns
        if any(column[1](row) is not None for row in study.measurements)
    ]
    cells = [_column(study, *column[1:]) for column in columns]
    header = [column[0] for column in columns]
    accuracy: dict[str, list[str]] = {}
    if any(row.map50(study.protocol) is not None for row in study.measurements):
        accuracy = _accuracies(study, study.protocol, f"mAP@0.5 ({study.protocol})")
    header += accuracy
    cells += accuracy.values()
    note = CHANGES_NOTE if CHANGE in accuracy else "In brackets: the change from the original."
    if study.engine is not None:
        where = _on_threads(study, study.engine)
        note += f" Inference is the median of one image in {study.engine}{where}."
    if any(row.seconds is not None for row in study.measurements):
        header.append("Computing")
        cells.append(_column(study, lambda row: row.seconds, duration, None))
        note += " Computing is what making the network took, after the one that it was made from."
    return Table(
        title="Results",
        header=("Network", *header),
        rows=_named(study, tuple(cells)),
        note=note,
    )


def page_table(study: Study) -> Table:
    """The results as a page begins: accuracy first, without what `cost_table` has."""
    table = results_table(study)
    accuracy = f"mAP@0.5 ({study.protocol})"
    first = ("Network", accuracy, CHANGE)
    others = [name for name in table.header if name not in {*first, *COSTS} or name in SHOWN]
    return table.columns((*first, *others))


def cost_table(study: Study) -> Table | None:
    """Parameters, file sizes, MACs and FLOPs; None where the first table has all that is known."""
    found = results_table(study).columns(COSTS)
    if {*found.header} <= {"Network", *SHOWN}:
        return None
    return replace(found, title="Size and operations", note=MACS_NOTE)


def accuracy_tables(study: Study) -> list[Table]:
    """One table for each protocol that any network was evaluated by."""
    tables = []
    if any("case-study" in row.accuracy for row in study.measurements):
        columns = _accuracies(study, "case-study") | {
            "Precision": _column(study, lambda row: _best(row, 0), average, None),
            "Recall": _column(study, lambda row: _best(row, 1), average, None),
        }
        tables.append(
            Table(
                title="Protocol case-study",
                header=("Network", *columns),
                rows=_named(study, tuple(columns.values())),
                note=CASE_STUDY_NOTE,
            )
        )
    if any("coco" in row.accuracy for row in study.measurements):
        averages = _accuracies(study, "coco") | {
            "mAP@0.5:0.95": _column(study, lambda row: row.map50_95, average, difference)
        }
        tables.append(
            Table(
                title="Protocol coco",
                header=("Network", *averages),
                rows=_named(study, tuple(averages.values())),
                note=COCO_NOTE,
            )
        )
    return tables


def latency_table(study: Study) -> Table | None:
    """Median and 95th percentile of every network in every engine; None if nothing was timed."""
    if not study.engines:
        return None
    header, columns = ["Network"], []
    for engine in study.engines:
        header += [f"{engine}, median", f"{engine}, p95"]
        columns += [
            _column(study, partial(Measurement.median_ms, engine=engine), timed, change),
            _column(study, partial(_p95_ms, engine=engine), timed, None),
        ]
    return Table(
        title="Latency",
        header=tuple(header),
        rows=_named(study, tuple(columns)),
        note=" ".join([_how_timed(study), *_what_time_follows(study)]),
    )


def _how_timed(study: Study) -> str:
    runs = {latency.runs for row in study.measurements for latency in row.latency.values()}
    return (
        f"Milliseconds for one image, without suppression{_on_threads(study, *study.engines)}; "
        f"{counted(min(runs), 'run')} of each network, in turns."
    )


def _on_threads(study: Study, *engines: str) -> str:
    """On how many threads of a CPU engines computed, those that did not on a GPU."""
    elsewhere = [engine.endswith(", CUDA") for engine in engines]
    if study.threads is None or all(elsewhere):
        return ""
    gpu = " or, where that is named, on a GPU" if any(elsewhere) else ""
    return f", on {counted(study.threads, 'thread')} of a CPU{gpu}"


def checks_table(study: Study) -> Table | None:
    """What was verified; None if nothing was."""
    if not study.checks:
        return None
    return Table(
        title="What was verified",
        header=("Statement", "Result", "Largest relative error", "Allowed", "On"),
        rows=tuple(
            (
                check.statement,
                f"NOT VERIFIED: {check.problem}" if check.problem else "holds",
                MISSING if check.relative_error is None else f"{check.relative_error:.2g}",
                MISSING if check.allowed is None else f"{check.allowed:g}",
                check.basis or MISSING,
            )
            for check in study.checks
        ),
    )


_Read = Callable[[Measurement], float | None]
_Show = Callable[[float], str]
_Change = Callable[[float, float], str]


def _column(study: Study, read: _Read, show: _Show, compare: _Change | None) -> list[str]:
    """A column's cells: the original's value, and the others' with the change from it."""
    reference = None if study.original is None else read(study.original)
    cells = []
    for row in study.measurements:
        value = read(row)
        if value is None or not math.isfinite(value):
            cells.append(MISSING)
        elif compare is None or reference is None or row.name == ORIGINAL:
            cells.append(show(value))
        else:
            cells.append(f"{show(value)} ({compare(reference, value)})")
    return cells


def _accuracies(study: Study, protocol: str, name: str = "mAP@0.5") -> dict[str, list[str]]:
    """The column of mAP@0.5, where images were drawn again with intervals, and that of changes.

    Changes have intervals, and a column, where the same images were drawn for both networks.
    """
    plain = _column(study, lambda row: row.map50(protocol), average, difference)
    first = None if study.original is None else study.original.accuracy.get(protocol)
    cells, changes = [], []
    for row, cell in zip(study.measurements, plain, strict=True):
        found = row.accuracy.get(protocol)
        bounds = None if found is None else found.interval
        gain = None if found is None or first is None else found.gain(first)
        changed = MISSING
        if found is not None and bounds is not None:
            cell = bounded(found.map50, bounds)
        if found is not None and first is not None and row.name != ORIGINAL:
            change_of = signed(found.map50 - first.map50)
            if gain is not None:
                changed = "{} [{}, {}]".format(change_of, *map(signed, gain))
            elif bounds is not None:
                cell += f" ({change_of})"
        cells.append(cell)
        changes.append(changed)
    shown = any(change_of != MISSING for change_of in changes)
    return {name: cells, **({CHANGE: changes} if shown else {})}


def _named(study: Study, columns: tuple[list[str], ...]) -> tuple[tuple[str, ...], ...]:
    names = [row.name for row in study.measurements]
    return tuple(zip(names, *columns, strict=True))


def _best(row: Measurement, which: int) -> float | None:
    """Precision (0) or recall (1) at the best F1 of the case study's curve."""
    accuracy = row.accuracy.get("case-study")
    if accuracy is None or accuracy.curve is None:
        return None
    return best_f1(accuracy.curve.precision, accuracy.curve.recall)[which]


def _p95_ms(row: Measurement, engine: str) -> float | None:
    latency = row.latency.get(engine)
    return None if latency is None else latency.p95


def _what_time_follows(study: Study) -> list[str]:
    """For each engine, a sentence on whether the slim network's time follows its MACs."""
    before, after = study.original, study.outcome
    if before is None or after is None or not before.macs or not after.macs:
        return []
    sentences = []
    for engine in study.engines:
        first, second = before.latency.get(engine), after.latency.get(engine)
        if first is None or second is None:
            continue
        times, fewer = first.median / second.median, before.macs / after.macs
        follows = follows_macs(times, fewer)
        # Times that scatter by more than they differ tell nothing.
        if follows is None or max(first.p95 / first.median, second.p95 / second.median) > fewer:
            continue
        speed = f"{times:.1f} times as fast" if times >= 1 else f"{1 / times:.1f} times slower"
        sentences.append(
            f"{engine}: {speed} with {fewer:.1f} times fewer MACs. {_FOLLOWS[follows]}"
        )
    return sentences
