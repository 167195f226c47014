"""Plans through JSON, and plans that do not fit."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests import architectures
from tests.pruning.darknet import dependencies
from tests.pruning.plans import random_plan, with_carriers
from yoloprune.errors import PlanError
from yoloprune.frontends.darknet.zoo import yolov3_tiny
from yoloprune.pruning.plan import check_plan, kept_filters, read_plan, write_plan

GRAPH = dependencies(yolov3_tiny(classes=1, width=0.125, size=(64, 64)))
PLAN = with_carriers(GRAPH, random_plan(GRAPH, 4))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    write_plan(tmp_path / "plan.json", GRAPH, PLAN)
    return tmp_path / "plan.json"


def test_a_plan_survives_json(path: Path) -> None:
    assert read_plan(path, GRAPH) == PLAN


def test_the_json_lists_the_kept_filters_of_every_convolution(path: Path) -> None:
    layers = json.loads(path.read_text())["layers"]
    assert {k: tuple(v["keep"]) for k, v in layers.items()} == kept_filters(GRAPH, PLAN)
    assert set(layers) == {node.name for node in GRAPH.graph.nodes if node.operator == "Conv"}


def set_version(document: dict[str, Any]) -> None:
    document["version"] = 99


def swap_digest(document: dict[str, Any]) -> None:
    document["graph_digest"] = "0" * 64


def empty_group(document: dict[str, Any]) -> None:
    document["groups"]["0"]["keep"] = []


def descend(document: dict[str, Any]) -> None:
    document["groups"]["3"]["keep"].reverse()


def beyond(document: dict[str, Any]) -> None:
    document["groups"]["0"]["keep"] = [10_000]


def unknown_group(document: dict[str, Any]) -> None:
    document["groups"]["999"] = {"producers": [], "keep": [0], "carriers": []}


def contradict(document: dict[str, Any]) -> None:
    document["layers"]["layer_0.conv"]["keep"] = [0]


def drop_layers(document: dict[str, Any]) -> None:
    del document["layers"]


def strange_budget(document: dict[str, Any]) -> None:
    document["budget"]["limits"] = {"macs": "half"}


def foreign_carrier(document: dict[str, Any]) -> None:
    group = next(g for g in document["groups"].values() if g["carriers"])
    group["carriers"] = [9999]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (set_version, "version must be 2 or 3 or 4, but is 99"),
        (swap_digest, "another network"),
        (empty_group, "empties group 0"),
        (descend, "must ascend"),
        (beyond, "must ascend within"),
        (unknown_group, "names group 999"),
        (contradict, "contradict"),
        (drop_layers, "layers is missing"),
        (strange_budget, "budget.limits.macs must be a number, but is 'half'"),
        (foreign_carrier, "carriers"),
    ],
)
def test_a_damaged_plan_is_refused(path: Path, damage: Any, message: str) -> None:
    document = json.loads(path.read_text())
    damage(document)
    path.write_text(json.dumps(document))
    with pytest.raises(PlanError, match=message):
        read_plan(path, GRAPH)


@pytest.mark.parametrize("text", ["", "[]", "{", "7", '{"version": 2}'])
def test_what_is_no_plan_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "plan.json").write_text(text)
    with pytest.raises(PlanError, match=r"plan\.json: damaged, or of another version: "):
        read_plan(tmp_path / "plan.json", GRAPH)


def test_a_missing_plan_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match="cannot read"):
        read_plan(tmp_path / "plan.json", GRAPH)


def test_a_frozen_group_cannot_be_cut() -> None:
    frozen = next(g for g in GRAPH.groups if g.frozen_because)
    with pytest.raises(PlanError, match="frozen: network output head"):
        check_plan(GRAPH, replace(PLAN, keep={frozen.id: (0,)}, carriers={}))


def test_equal_parts_must_keep_equally_many() -> None:
    graph = dependencies(architectures.yolov4_tiny(classes=1, width=0.125, size=(64, 64)))
    halved = next(g for g in graph.prunable if g.equal_parts == 2)
    plan = replace(random_plan(graph, 0), keep={halved.id: (0, 1)})
    with pytest.raises(PlanError, match="equally many"):
        check_plan(graph, plan)
