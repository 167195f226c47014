"""Plots: well-formed, the same every time, and true to their data."""

import re
from collections.abc import Callable
from xml.etree import ElementTree

import numpy as np
import pytest

from tests.report import studies
from tests.report.published import study_of
from yoloprune.evaluation.average_precision import average_precision
from yoloprune.report import plots
from yoloprune.report.group_graph import group_chart
from yoloprune.report.study import Measurement, TrainingLog
from yoloprune.report.svg import COLORS

STUDY = studies.filled_study()
DENSE, SLIM, SELECTION = STUDY.dense, STUDY.slim, STUDY.selection
assert DENSE is not None and SLIM is not None and SELECTION is not None

PLOTS: dict[str, Callable[[], str | None]] = {
    "channels": lambda: plots.channel_chart(DENSE, SLIM),
    "cost": lambda: plots.cost_chart(DENSE, SLIM),
    "scores": lambda: plots.score_histogram(SELECTION),
    "kept": lambda: plots.keep_chart(DENSE, SELECTION.plan),
    "trade-macs": lambda: plots.trade_chart(STUDY, "macs"),
    "trade-ms": lambda: plots.trade_chart(STUDY, "ms"),
    "training": lambda: plots.training_chart(STUDY.training),
    "distillation": lambda: plots.distillation_chart(STUDY.distillation),
    "precision-recall": lambda: plots.precision_recall_chart(STUDY.measurements),
    "groups": lambda: group_chart(DENSE, SELECTION.plan),
}


@pytest.mark.parametrize("name", PLOTS)
def test_a_plot_is_well_formed_and_its_colors_are_the_pages(name: str) -> None:
    text = PLOTS[name]()
    assert text is not None
    root = ElementTree.fromstring(text)
    assert root.get("aria-label")
    assert not any(code in text for code in COLORS.values())
    # Nothing is left in a color that only one of the two schemes can show.
    assert set(re.findall(r"#[0-9a-f]{6}\b", text)) <= {"#000000"}
    ids = [element.get("id") for element in root.iter() if element.get("id")]
    assert len(ids) == len(set(ids)) and all(i.startswith(f"{name}-") for i in ids)
    used = re.findall(r'(?:url\(#|href="#)([^")]+)', text)
    assert set(used) <= set(ids)
    assert "http" not in re.sub(r'xmlns[:\w]*="[^"]*"', "", text)


def test_the_same_data_give_the_same_text() -> None:
    assert PLOTS["scores"]() == PLOTS["scores"]()


def test_no_plot_without_data() -> None:
    assert plots.training_chart({"train": TrainingLog(lines=[{"epoch": 1, "map50": None}])}) is None
    assert plots.distillation_chart([(0, 1.0)]) is None
    assert plots.precision_recall_chart([Measurement(name="Original")]) is None
    assert plots.trade_chart(study_of(Measurement(name="Original", macs=5)), "macs") is None


def test_the_selection_splits_all_scores() -> None:
    kept, removed = SELECTION.split()
    assert len(kept) == sum(len(numbers) for numbers in SELECTION.plan.keep.values())
    assert len(kept) + len(removed) == sum(map(len, SELECTION.scores.values()))
    assert removed.max() < np.median(kept)


def test_the_drawn_curve_has_the_average_precision_as_its_area() -> None:
    generator = np.random.default_rng(0)
    hits = np.cumsum(generator.random(5000) < np.linspace(0.95, 0.05, 5000))
    precision, recall = hits / np.arange(1, 5001), hits / 4000
    at, heights = plots.envelope(recall, precision, points=2000)
    assert np.trapezoid(heights, at) == pytest.approx(
        average_precision(precision, recall), abs=2e-3
    )
    assert heights[-1] == 0 and at[-1] == recall[-1]


def test_a_network_that_finds_nothing_has_an_empty_curve() -> None:
    at, heights = plots.envelope(np.zeros(0), np.zeros(0), points=5)
    assert not at.any() and not heights.any()


def test_rows_of_the_largest_study_are_drawn_unlike_each_other() -> None:
    names = ["Original", "Pruned", "Re-fitted", "Distilled", "Fine-tuned"]
    names += ["Scratch", "Uniform", "Random", "Half width", "Longer", "Smaller", "int8"]
    styles = plots.styles(names)
    assert len({style["marker"] for style in styles.values()}) == len(names)
    assert len({(style["color"], style["linestyle"]) for style in styles.values()}) == len(names)
