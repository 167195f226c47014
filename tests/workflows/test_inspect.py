"""What a network is made of, and what a data set holds, through Python."""

import json
from pathlib import Path

from tests.modules import loaded
from yoloprune.frontends.darknet.cost import cost
from yoloprune.frontends.darknet.document import darknet
from yoloprune.frontends.darknet.parser import read_cfg
from yoloprune.graph.model import Model
from yoloprune.workflows.inspect import inspect


def test_a_network_is_shown_with_and_without_weights(dense: Model, tmp_path: Path) -> None:
    alone, whole = inspect(tmp_path / "dense.cfg"), inspect(dense)
    assert alone.dead is None and whole.dead is not None
    document = json.loads(json.dumps(whole.shown().document))
    assert document["macs"] == cost(darknet(dense).spec).macs
    assert len(document["layers"]) == len(read_cfg(tmp_path / "dense.cfg").layers)
    assert "dead_channels" in document["groups"][0]
    assert "dead_channels" not in alone.shown().document["groups"][0]
    assert "prunable groups" in repr(alone) and "\n" not in repr(alone)
    assert "| Group |" in str(whole) and "<table>" in whole._repr_html_()


def test_a_module_is_shown_by_the_names_of_its_own_modules() -> None:
    module, _, network = loaded("many")
    found = inspect(network)
    rows = {row[0]: row for row in found.shown().rows}
    assert rows[0][2:4] == (
        "left.conv (Conv2d), right.conv (Conv2d), down.conv (Conv2d)",
        # Called for two levels, it is one.
        "down.conv (Conv2d), head.hidden.conv (Conv2d), head.box (Conv2d)",
    )
    known = {path: f"{path} ({type(own).__name__})" for path, own in module.named_modules()}
    named = {row[0] for row in found.layers().rows}
    # An offset of its own is added by the module itself.
    assert named - {*known.values()} == {"the module (Many)"}
    assert {known[path] for path in ("right.bn", "again", "score")} <= named
    document = json.loads(json.dumps(found.shown().document))
    # Nodes are what plans go by.
    nodes = {row["name"]: row["module"] for row in document["layers"]}
    assert [nodes[own] for own in document["groups"][0]["producers"]] == rows[0][2].split(", ")
