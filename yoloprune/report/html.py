"""report.html: the study as one self-contained page, and all three reports on disk.

The page itself is `templates/report.html`; here it gets its tables, charts and words.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from yoloprune.detection.nms import SCORE_THRESHOLD
from yoloprune.files import write_json, write_text
from yoloprune.report.group_graph import group_chart
from yoloprune.report.markdown import command_script, report_json, report_markdown
from yoloprune.report.pictures import example_pictures, jpeg_data_uri
from yoloprune.report.plots import (
    channel_chart,
    cost_chart,
    distillation_chart,
    keep_chart,
    precision_recall_chart,
    score_histogram,
    trade_chart,
    training_chart,
)
from yoloprune.report.results import (
    PROTOCOLS_NOTE,
    accuracy_tables,
    checks_table,
    cost_table,
    latency_table,
    page_table,
)
from yoloprune.report.study import ORIGINAL, PRUNED, Example, Study
from yoloprune.report.usage import ONNX_TITLE, snippets
from yoloprune.report.wording import (
    MISSING,
    dataset_sentence,
    flattened,
    headline,
    notes,
    plain,
)

REPORTS = ("report.html", "report.md", "report.json")
"""What `write_report` writes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Picture:
    """A picture as `<img>` takes it; sizes in pixels."""

    network: str
    caption: str
    address: str
    width: int
    height: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Example:
    """An image as two networks see it."""

    name: str
    pictures: tuple[_Picture, ...]

    @property
    def alike(self) -> bool:
        """Whether both find as many objects, and raise as many false alarms."""
        return len({picture.caption for picture in self.pictures}) == 1


def write_report(folder: Path, study: Study) -> None:
    """Write `REPORTS` into a folder."""
    write_text(folder / "report.html", report_html(study))
    write_text(folder / "report.md", report_markdown(study))
    write_json(folder / "report.json", report_json(study))


def report_html(study: Study) -> str:
    """The content of report.html; sections whose data is missing are left out."""
    slim, exported = study.slim, study.exported
    outcome = PRUNED if study.outcome is None else study.outcome.name
    return _environment().get_template("report.html").render(
        study=study,
        missing=MISSING,
        headline=headline(study),
        dataset=dataset_sentence(study),
        results_table=page_table(study),
        cost_table=cost_table(study),
        notes=notes(study),
        accuracy_tables=list(accuracy_tables(study)),
        protocols_note=PROTOCOLS_NOTE if len(accuracy_tables(study)) > 1 else "",
        latency_table=latency_table(study),
        checks_table=checks_table(study),
        charts=_charts(study),
        pair=[_shown(example, outcome) for example in study.pair],
        examples=[_shown(example, outcome) for example in study.examples],
        threshold=SCORE_THRESHOLD,
        onnx_title=ONNX_TITLE,
        programs=snippets(slim, exported) if slim and exported else [],
        script=command_script(study.commands),
        facts={
            "Settings": [(plain(key), value) for key, value in flattened(study.settings)],
            "Environment": [(plain(key), value) for key, value in flattened(study.environment)],
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
    environment.filters["whole_options"] = _whole_options
    environment.filters["anchor"] = lambda title: title.lower().replace(" ", "-")
    return environment


def _whole_options(text: str) -> Markup:
    """Code whose options are not broken at a hyphen, where a line is too long."""
    kept = re.sub(r"(?<!\S)--?[a-z][a-z-]*", r"<span>\g<0></span>", str(escape(text)))
    return Markup(kept)


def split_change(cell: str) -> tuple[str, str]:
    """A cell's value and the change in brackets behind it, which may be empty."""
    found = re.fullmatch(r"(.+) \(([-+][\d.]+%?)\)", cell)
    return (found[1], found[2]) if found else (cell, "")


def _signed(change: str) -> Markup:
    """A change with a minus sign instead of a hyphen."""
    return escape(change).replace("-", Markup("&minus;"), 1)


def _charts(study: Study) -> dict[str, Markup | None]:
    """SVG of every chart by its name; None where there is nothing to draw."""
    dense, slim, selection = study.dense, study.slim, study.selection
    plan = None if selection is None else selection.plan
    drawn: dict[str, Any] = {
        "macs": trade_chart(study, "macs"),
        "ms": trade_chart(study, "ms"),
        "precision_recall": precision_recall_chart(study.measurements),
        "training": training_chart(study.training),
        "distillation": distillation_chart(study.distillation),
        "channels": dense and slim and channel_chart(dense, slim),
        "cost": dense and slim and cost_chart(dense, slim),
        "scores": selection and selection.scores and score_histogram(selection),
        "kept": dense and plan and keep_chart(dense, plan),
        "groups": dense and group_chart(dense, plan),
    }
    return {name: Markup(chart) if chart else None for name, chart in drawn.items()}


def _shown(example: Example, outcome: str) -> _Example:
    pictures = zip((ORIGINAL, outcome), example_pictures(example), strict=True)
    return _Example(
        name=example.name,
        pictures=tuple(
            _Picture(
                network=network,
                caption=picture.caption,
                address=jpeg_data_uri(picture.image),
                width=picture.image.shape[1],
                height=picture.image.shape[0],
            )
            for network, picture in pictures
        ),
    )
