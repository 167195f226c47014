"""report.html: the study as one self-contained page, and all three reports on disk.

The page loads nothing and runs nothing; its content security policy has the browser enforce that.
"""

import json
from html import escape
from importlib.resources import files
from pathlib import Path

from yoloprune.files import write_text
from yoloprune.report.elements import code, figure, signed, split_change, table
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
    accuracy_tables,
    checks_table,
    latency_table,
    results_table,
)
from yoloprune.report.study import Study
from yoloprune.report.usage import ONNX_TITLE, snippets
from yoloprune.report.wording import dataset_sentence, flattened, headline, notes

REPORTS = ("report.html", "report.md", "report.json")
"""What `write_report` writes."""

_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def write_report(folder: Path, study: Study) -> None:
    """Write `REPORTS` into a folder."""
    write_text(folder / "report.html", report_html(study))
    write_text(folder / "report.md", report_markdown(study))
    document = json.dumps(report_json(study), indent=1, default=str) + "\n"
    write_text(folder / "report.json", document)


def report_html(study: Study) -> str:
    """The content of report.html; sections whose data is missing are left out."""
    sections = {
        "Results": _results(study),
        "Accuracy": _accuracy(study),
        "Latency": _latency(study),
        "Where the cost went": _cost(study),
        "What was cut": _selection(study),
        "On the same images": _examples(study),
        "What was verified": _checks(study),
        "Run the exported files": _usage(study),
        "Repeat it": _commands(study),
    }
    present = {title: body for title, body in sections.items() if body}
    anchors = {title: title.lower().replace(" ", "-") for title in present}
    contents = "".join(
        f'<li><a href="#{anchor}">{title}</a></li>' for title, anchor in anchors.items()
    )
    body = "".join(
        f'<section id="{anchors[title]}"><h2>{title}</h2>{text}</section>'
        for title, text in present.items()
    )
    style = (files("yoloprune.report") / "page.css").read_text(encoding="utf-8")
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>{escape(study.title)}</title><style>{style}</style></head>\n<body>"
        f'<header><p class="eyebrow">yoloprune report</p><h1>{escape(study.title)}</h1>'
        f'<p class="lede">{escape(headline(study))}</p>{_tiles(study)}'
        f'<p class="data">{escape(dataset_sentence(study))}</p>'
        f"<nav><ul>{contents}</ul></nav></header>\n<main>{body}</main></body></html>\n"
    )


def _tiles(study: Study) -> str:
    """The outcome's changes, large: what the bracket of each cell of its row says."""
    results = results_table(study)
    lines = {line[0]: line for line in results.rows}
    if study.original is None or study.outcome is None:
        return ""
    before, after = lines[study.original.name], lines[study.outcome.name]
    tiles = []
    for name, old, new in zip(results.header, before, after, strict=True):
        value, change = split_change(new)
        if change:
            tiles.append(
                f'<li><span class="label">{escape(name)}</span><strong>{signed(change)}</strong>'
                f"<span>{escape(old)} &rarr; {escape(value)}</span></li>"
            )
    return f'<ul class="tiles">{"".join(tiles)}</ul>' if tiles else ""


def _results(study: Study) -> str:
    items = "".join(f"<li>{escape(note)}</li>" for note in notes(study))
    return table(results_table(study)) + (f'<ul class="note">{items}</ul>' if items else "")


def _accuracy(study: Study) -> str:
    tables = "".join(
        f"<div><h3>{escape(found.title)}</h3>{table(found)}</div>"
        for found in accuracy_tables(study)
    )
    if tables:
        tables = f'<p>{escape(PROTOCOLS_NOTE)}</p><div class="pair">{tables}</div>'
    charts = [
        (
            precision_recall_chart(study.measurements),
            "Precision over recall on the test images, protocol case-study; beside each name its "
            "mAP@0.5. Drawn is the envelope: the best precision at each recall or above.",
        ),
        (
            training_chart(study.training),
            "mAP@0.5 by case-study on the validation images, neither trained on nor tested on. A "
            "training that goes on from another begins where that one ends.",
        ),
    ]
    figures = "".join(figure(chart, caption) for chart, caption in charts if chart)
    return tables + (f'<div class="pair">{figures}</div>' if figures else "")


def _latency(study: Study) -> str:
    found = latency_table(study)
    return "" if found is None else table(found)


def _cost(study: Study) -> str:
    if study.dense is None or study.slim is None:
        return ""
    channels = figure(
        channel_chart(study.dense, study.slim),
        "Output channels of each convolution. Convolutions that a head reads cannot be cut; those "
        "that a shortcut adds are cut alike.",
        wide=True,
    )
    cost = figure(
        cost_chart(study.dense, study.slim),
        "Where the MACs and the parameters are, and where they went.",
        wide=True,
    )
    return channels + cost


def _selection(study: Study) -> str:
    text = ""
    if study.selection is not None and study.selection.scores:
        text = figure(
            score_histogram(study.selection),
            "Scores of all prunable channels, comparable between groups. The cut is the highest "
            "score that was removed; a channel under it stays where its group is at its least, or "
            "is rounded up.",
        )
    plan = None if study.selection is None else study.selection.plan
    if study.dense is not None and plan is not None:
        text += figure(
            keep_chart(study.dense, plan),
            "The share of its channels that each prunable group keeps.",
        )
    if text:
        text = f'<div class="pair">{text}</div>'
    if study.dense is not None:
        text += figure(
            group_chart(study.dense, plan),
            "Channels that must go together. Every dot on a line belongs to one group; filled ones "
            "produce its channels, hollow ones consume them. A channel leaves all of them or none.",
            wide=True,
        )
    return text


def _examples(study: Study) -> str:
    rows = []
    for number, example in enumerate(study.examples, start=1):
        pictures = example_pictures(example, study.dataset.classes)
        counts = (len(example.truth.labels), len(example.dense.labels), len(example.slim.labels))
        panels = "".join(
            f'<figure><img src="{jpeg_data_uri(picture)}" width="{picture.shape[1]}" '
            f'height="{picture.shape[0]}" alt="Image {number}: {name}, {count} boxes">'
            f"<figcaption>{name}: {count}</figcaption></figure>"
            for name, picture, count in zip(
                ("Ground truth", "Original", "Slim"), pictures, counts, strict=True
            )
        )
        rows.append(f'<div class="triple" tabindex="0">{panels}</div>')
    if not rows:
        return ""
    shown = "Detections"
    if study.example_threshold is not None:
        shown += f" that score at least {study.example_threshold:g}"
    return f"<p>{shown}, each with its score.</p>{''.join(rows)}"


def _checks(study: Study) -> str:
    found = checks_table(study)
    return "" if found is None else table(found)


def _usage(study: Study) -> str:
    if study.exported is None or study.slim is None:
        return ""
    text = ""
    if study.exported.interface:
        lines = "".join(f"<li>{escape(line)}</li>" for line in study.exported.interface)
        text = f"<h3>{ONNX_TITLE}</h3><ul>{lines}</ul>"
    return text + "".join(
        f"<h3>{escape(snippet.title)}</h3>{code(snippet.code)}"
        for snippet in snippets(study.slim, study.exported)
    )


def _commands(study: Study) -> str:
    text = code(command_script(study.commands)) if study.commands else ""
    for name, values in (("Settings", study.settings), ("Environment", study.environment)):
        if values:
            rows = "".join(
                f"<div><dt>{escape(key)}</dt><dd>{escape(value)}</dd></div>"
                for key, value in flattened(values)
            )
            text += f"<h3>{name}</h3><dl>{rows}</dl>"
    return text
