"""report.html: the study as one self-contained page, and all three reports on disk.

The page itself is `templates/report.html`; here it gets its tables, charts and words.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from yoloprune.files import write_json, write_text
from yoloprune.report.group_graph import group_chart
from yoloprune.report.markdown import command_script, report_json, report_markdown
from yoloprune.report.pictures import example_pictures, jpeg_data_uri
from yoloprune.report.plots import (
    channel_chart,
    cost_chart,
    keep_chart,
    precision_recall_chart,
    score_histogram,
    training_chart,
)
from yoloprune.report.results import (
    PROTOCOLS_NOTE,
    Table,
    accuracy_tables,
    checks_table,
    latency_table,
    results_table,
)
from yoloprune.report.study import Study
from yoloprune.report.usage import ONNX_TITLE, snippets
from yoloprune.report.wording import MISSING, dataset_sentence, flattened, headline, notes

REPORTS = ("report.html", "report.md", "report.json")
"""What `write_report` writes."""

_PHONE_LETTERS = 42
"""Letters, over all columns, of the widest table that a phone shows as a table."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tile:
    """What became of one figure of the original, large at the head of the page."""

    name: str
    change: str
    before: str
    after: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Picture:
    """An example with boxes, as `<img>` takes it; sizes in pixels."""

    name: str
    address: str
    width: int
    height: int
    boxes: int


def write_report(folder: Path, study: Study) -> None:
    """Write `REPORTS` into a folder."""
    write_text(folder / "report.html", report_html(study))
    write_text(folder / "report.md", report_markdown(study))
    write_json(folder / "report.json", report_json(study))


def report_html(study: Study) -> str:
    """The content of report.html; sections whose data is missing are left out."""
    slim, exported = study.slim, study.exported
    return _environment().get_template("report.html").render(
        study=study,
        missing=MISSING,
        headline=headline(study),
        dataset=dataset_sentence(study),
        tiles=list(_tiles(study)),
        results_table=results_table(study),
        notes=notes(study),
        accuracy_tables=list(accuracy_tables(study)),
        protocols_note=PROTOCOLS_NOTE if len(accuracy_tables(study)) > 1 else "",
        latency_table=latency_table(study),
        checks_table=checks_table(study),
        charts=_charts(study),
        examples=list(_examples(study)),
        onnx_title=ONNX_TITLE,
        programs=snippets(slim, exported) if slim and exported else [],
        script=command_script(study.commands),
        facts={
            "Settings": flattened(study.settings),
            "Environment": flattened(study.environment),
        },
    )  # fmt: skip


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("yoloprune.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
    )
    environment.filters["split_change"] = split_change
    environment.filters["signed"] = _signed
    environment.filters["anchor"] = lambda title: title.lower().replace(" ", "-")
    environment.tests["wide"] = _is_wide
    return environment


def split_change(cell: str) -> tuple[str, str]:
    """A cell's value and the change in brackets behind it, which may be empty."""
    found = re.fullmatch(r"(\S+) \(([-+][\d.]+%?)\)", cell)
    return (found[1], found[2]) if found else (cell, "")


def _signed(change: str) -> Markup:
    """A change with a minus sign instead of a hyphen."""
    return escape(change).replace("-", Markup("&minus;"), 1)


def _is_wide(table: Table) -> bool:
    """Whether a narrow screen shows a table as a card for each row."""
    columns = zip(table.header, *table.rows, strict=True)
    return sum(max(map(len, column)) for column in columns) > _PHONE_LETTERS


def _tiles(study: Study) -> Iterator[_Tile]:
    """The outcome's changes: what the bracket of each cell of its row says."""
    if study.original is None or study.outcome is None:
        return
    results = results_table(study)
    lines = {line[0]: line for line in results.rows}
    before, after = lines[study.original.name], lines[study.outcome.name]
    for name, old, new in zip(results.header, before, after, strict=True):
        value, change = split_change(new)
        if change:
            yield _Tile(name=name, change=change, before=old, after=value)


def _charts(study: Study) -> dict[str, Markup | None]:
    """SVG of every chart by its name; None where there is nothing to draw."""
    dense, slim, selection = study.dense, study.slim, study.selection
    plan = None if selection is None else selection.plan
    drawn: dict[str, Any] = {
        "precision_recall": precision_recall_chart(study.measurements),
        "training": training_chart(study.training),
        "channels": dense and slim and channel_chart(dense, slim),
        "cost": dense and slim and cost_chart(dense, slim),
        "scores": selection and selection.scores and score_histogram(selection),
        "kept": dense and plan and keep_chart(dense, plan),
        "groups": dense and group_chart(dense, plan),
    }
    return {name: Markup(chart) if chart else None for name, chart in drawn.items()}


def _examples(study: Study) -> Iterator[list[_Picture]]:
    for example in study.examples:
        pictures = example_pictures(example, study.classes)
        shown = {"Ground truth": example.truth, "Original": example.dense, "Slim": example.slim}
        counted = {name: len(found.labels) for name, found in shown.items() if found is not None}
        yield [
            _Picture(
                name=name,
                address=jpeg_data_uri(picture),
                width=picture.shape[1],
                height=picture.shape[0],
                boxes=boxes,
            )
            for (name, boxes), picture in zip(counted.items(), pictures, strict=True)
        ]
