"""Plots: well-formed, the same every time, and true to their data."""

import re
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import onnx
import pytest

from tests.frontends.onnx.models import residual
from tests.pruning.darknet import layer
from tests.report import studies
from yoloprune.evaluation.average_precision import average_precision
from yoloprune.frontends.darknet.zoo import yolov3_tiny
from yoloprune.frontends.onnx.read import read
from yoloprune.pruning.budget import Budget
from yoloprune.pruning.cut import cut
from yoloprune.pruning.groups import analyze
from yoloprune.pruning.score.on_weights import l2, score
from yoloprune.pruning.solve import normalized, solve
from yoloprune.report import plots
from yoloprune.report.group_graph import group_chart, packed
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
    "training": lambda: plots.training_chart(STUDY.training),
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
    assert plots.precision_recall_chart([Measurement(name="Original")]) is None


def test_a_network_without_shortcuts_has_no_coupled_groups_to_show() -> None:
    spec = yolov3_tiny(classes=1, width=0.0625, size=(32, 32))
    chart = group_chart(studies.network(spec))
    assert "0 coupled, 11 of one convolution, 2 frozen" in chart
    assert "layer of the cfg" in chart


def test_an_onnx_network_is_drawn_by_its_nodes(tmp_path: Path) -> None:
    onnx.save_model(residual(), tmp_path / "net.onnx")
    dense = read(tmp_path / "net.onnx")
    graph = analyze(dense.graph)
    scores = normalized(score(graph, dense.parameters, l2))
    plan = solve(graph, scores, Budget(limits={"macs": 0.6}), criterion="l2")
    slim = dense.edited(cut(graph, plan))
    chart = group_chart(dense, plan)
    assert f"{len(dense.graph.nodes)} layers and its {len(graph.groups)} channel groups" in chart
    assert "nodes of the graph, in order" in chart and "layer of the cfg" not in chart
    for drawn in (plots.channel_chart(dense, slim), plots.cost_chart(dense, slim)):
        ElementTree.fromstring(drawn)
        assert "layers with kernels, in order" in drawn
    ElementTree.fromstring(plots.keep_chart(dense, plan))


def test_the_group_picture_counts_what_is_known_of_yolov3() -> None:
    text = group_chart(DENSE, SELECTION.plan)
    assert "107 layers and its 52 channel groups: 5 coupled, 44 of one convolution" in text
    coupled = [group for group in analyze(DENSE.graph).prunable if group.coupled]
    for group in coupled:
        kept = len(SELECTION.plan.keep[group.id])
        assert f"{kept} of {group.size} channels stay" in text


def test_packed_lanes_hold_every_group_once_and_none_touch() -> None:
    groups = [group for group in analyze(DENSE.graph).groups if not group.coupled]
    places = {g.id: [layer(m.node) for m in (*g.producers, *g.consumers)] for g in groups}
    lanes = packed(groups, {name: (min(at), max(at)) for name, at in places.items()})
    assert sorted(group.id for lane in lanes for group in lane) == [g.id for g in groups]
    for lane in lanes:
        layers = [places[group.id] for group in lane]
        for before, after in pairwise(layers):
            assert max(before) < min(after)


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
