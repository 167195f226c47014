"""What a network is made of, and what a data set holds, through Python."""

import json
from pathlib import Path

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
