"""report.md and report.json: the study without its plots and pictures."""

import math
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from yoloprune.escapes import printable
from yoloprune.report.pruning import channels_by_layer
from yoloprune.report.results import (
    MACS_NOTE,
    PROTOCOLS_NOTE,
    Table,
    accuracy_tables,
    checks_table,
    latency_table,
    results_table,
)
from yoloprune.report.study import Command, Study
from yoloprune.report.table import markdown_table
from yoloprune.report.usage import ONNX_TITLE, snippets
from yoloprune.report.wording import dataset_sentence, flattened, headline, notes, plain


def report_markdown(study: Study) -> str:
    """The content of report.md."""
    parts = [f"# {_cell(study.title)}", headline(study), _cell(dataset_sentence(study))]
    table = results_table(study)
    parts.append(_section(replace(table, note=f"{table.note} {MACS_NOTE}")))
    parts.append("\n".join(f"- {_cell(n)}" for n in notes(study)))
    if accuracy := accuracy_tables(study):
        parts += ["## Accuracy by protocol", PROTOCOLS_NOTE if len(accuracy) > 1 else ""]
        parts += [_section(table, level=3) for table in accuracy]
    parts += [_section(table) for table in (latency_table(study), checks_table(study)) if table]
    if study.exported is not None and study.slim is not None:
        parts.append("## Run the exported files")
        if study.exported.interface:
            lines = "\n".join(f"- {_cell(line)}" for line in study.exported.interface)
            parts.append(f"### {ONNX_TITLE}\n\n{lines}")
        for snippet in snippets(study.slim, study.exported):
            parts += [f"### {snippet.title}", _code(snippet.code, snippet.language)]
    if study.commands:
        parts += ["## Repeat it", _code(command_script(study.commands), "sh")]
    for name, values in (("Settings", study.settings), ("Environment", study.environment)):
        if values:
            rows = tuple((plain(key), value) for key, value in flattened(values))
            table = Table(title=name, header=("Name", "Value"), rows=rows)
            parts.append(_section(table))
    return "\n\n".join(filter(None, parts)) + "\n"


def report_json(study: Study) -> dict[str, Any]:
    """The content of report.json; null stands for what was not measured.

    `rows` has the table: params, MACs, bytes, milliseconds (median, first engine), AP in [0, 1],
    seconds of computing.
    """
    return {
        "title": study.title,
        "headline": headline(study),
        "rows": [
            {
                "name": row.name,
                "params": row.params,
                "macs": row.macs,
                "weight_bytes": row.weight_bytes,
                "latency_ms": _number(row.median_ms(study.engine)),
                "map50": _number(row.map50("case-study")),
                "map50_coco": _number(row.map50("coco")),
                "map50_95": _number(row.map50_95),
                "seconds": _number(row.seconds),
            }
            for row in study.measurements
        ],
        "latency": {
            row.name: {
                engine: {
                    "median_ms": _number(latency.median),
                    "p95_ms": _number(latency.p95),
                    "runs": latency.runs,
                }
                for engine, latency in row.latency.items()
            }
            for row in study.measurements
        },
        "notes": {row.name: row.note for row in study.measurements if row.note},
        "dataset": study.dataset
        and {
            "name": study.dataset.name,
            "images": dict(study.dataset.images),
            "objects": dict(study.dataset.objects),
            "classes": list(study.dataset.classes),
            "warnings": list(study.dataset.warnings),
        },
        "channels": channels_by_layer(study.dense, study.slim)
        if study.dense is not None and study.slim is not None
        else {},
        "checks": [
            {
                "statement": check.statement,
                "relative_error": _number(check.relative_error),
                "allowed": check.allowed,
                "basis": check.basis,
                "problem": check.problem,
            }
            for check in study.checks
        ],
        "commands": [
            {"stage": command.stage, "line": command.line, "seed": command.seed}
            for command in study.commands
        ],
        "settings": dict(study.settings),
        "environment": dict(study.environment),
    }


def command_script(commands: Sequence[Command]) -> str:
    """Command lines under a comment each, that says the stage and the seed."""
    blocks = []
    for command in commands:
        seed = "" if command.seed is None else f" (seed {command.seed})"
        stage = " ".join(command.stage.split())
        blocks.append(f"# {stage}{seed}\n{command.line}\n")
    return "\n".join(blocks)


def _section(table: Table, level: int = 2) -> str:
    rows = [tuple(map(_cell, row)) for row in table.rows]
    text = f"{'#' * level} {table.title}\n\n{markdown_table([*map(_cell, table.header)], rows)}"
    return f"{text}\n{table.note}" if table.note else text.rstrip()


def _code(text: str, language: str) -> str:
    """A code block whose fence is longer than any in the text."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    lines = "\n".join(map(printable, text.split("\n")))
    return f"{fence}{language}\n{lines}{fence}"


def _cell(text: str) -> str:
    """Text from outside that stays in its cell and is no markup."""
    return printable(" ".join(text.split())).replace("|", "\\|").replace("<", "&lt;")


def _number(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
