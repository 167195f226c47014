"""Scales that go from outputs in which all of them stand one after the other."""

from dataclasses import replace
from pathlib import Path

import pytest

from tests.frontends.onnx.models import loaded, two_scales
from yoloprune.errors import PlanError
from yoloprune.graph.edits import Entries, Task
from yoloprune.graph.graph import Graph
from yoloprune.graph.shapes import facts
from yoloprune.pruning.scales import scale_sizes, without_scales


@pytest.fixture
def graph(tmp_path: Path) -> Graph:
    return loaded(two_scales(), tmp_path).graph


def asked(*kept: int, axis: int = 2) -> Task:
    return Task(classes=(0, 1), outputs={"y": Entries(axis=axis, kept=kept)})


def test_boxes_are_of_the_scales_that_are_joined(graph: Graph) -> None:
    assert scale_sizes(graph, 20) == (16, 4)
    assert scale_sizes(graph, 6) == (4, 2)  # Boxes and classes are joined too, along their axis.
    assert scale_sizes(graph, 7) == ()


@pytest.mark.parametrize(("kept", "sums"), [(range(16), 16), (range(16, 20), 4)])
def test_what_is_read_place_by_place_follows(graph: Graph, kept: range, sums: int) -> None:
    edits = without_scales(graph, asked(*kept))
    assert edits is not None
    (anchors,) = [*edits.constants.values(), *edits.arrays.values()]
    shape = anchors.shape((1, 4, 20)) if hasattr(anchors, "blocks") else anchors.shape
    assert shape == (1, 4, sums)
    assert [len(node.inputs) for (node,) in edits.nodes.values()] == [1]


@pytest.mark.parametrize(
    "task", [asked(*range(15)), asked(*range(17)), asked(4, axis=1), asked(*range(20))]
)
def test_parts_of_scales_are_no_scales(graph: Graph, task: Task) -> None:
    assert without_scales(graph, task) is None


def test_a_size_that_may_change_has_other_places(graph: Graph) -> None:
    (value,) = graph.inputs.values()
    free = replace(
        graph,
        inputs={"x": replace(value, shape=(1, 3, "height", "width"))},
        sizes={"height": 64, "width": 64},
    )
    assert facts(free).shapes["y"] == (1, 6, 20)
    with pytest.raises(PlanError, match="the size of what the network reads is not fixed"):
        without_scales(free, asked(*range(16)))
