from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import onnx

from tests.frontends.onnx.models import residual
from tests.pruning.darknet import layer
from tests.report import studies
from yoloprune.frontends.darknet.zoo import yolov3_tiny
from yoloprune.frontends.onnx.read import read
from yoloprune.pruning.budget import Budget
from yoloprune.pruning.cut import cut
from yoloprune.pruning.groups import analyze
from yoloprune.pruning.score.on_weights import l2, score
from yoloprune.pruning.solve import normalized, solve
from yoloprune.report import plots
from yoloprune.report.group_graph import group_chart, packed

STUDY = studies.filled_study()
DENSE, SELECTION = STUDY.dense, STUDY.selection
assert DENSE is not None and SELECTION is not None


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
