"""Rows of heads that nobody asks for: which go, and that what stays is as it was, bit for bit."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from tests.pruning.networks import random_parameters
from yoloprune.errors import PlanError, VerificationError
from yoloprune.graph.builder import GraphBuilder
from yoloprune.graph.edits import ArrayCut, Entries, Task, edit
from yoloprune.graph.graph import Graph
from yoloprune.pruning.prove import outputs
from yoloprune.pruning.task import narrowing, prove_task
from yoloprune.pruning.verification import random_images

CLASSES = 7


def conv(
    graph: GraphBuilder, name: str, value: str, columns: int, filters: int, **more: int
) -> str:
    kernel = graph.parameter(f"{name}.kernel", (filters, columns // more.get("group", 1), 1, 1))
    return graph.node(
        name, "Conv", value, kernel, graph.parameter(f"{name}.bias", (filters,)), **more
    )


def trunk() -> tuple[GraphBuilder, str]:
    graph = GraphBuilder(opset=17)
    images = graph.input("images", ("batch", 3, 4, 6))
    return graph, graph.node("relu", "Relu", conv(graph, "trunk", images, 3, 8))


def apart() -> Graph:
    """Boxes and classes from towers of their own, two scales behind one another."""
    graph, small = trunk()
    large = graph.node("pool", "MaxPool", small, kernel_shape=(2, 2), strides=(2, 2))
    parts = []
    for name, value, cells in (("small", small, 24), ("large", large, 6)):
        boxes = conv(graph, f"{name}.boxes", value, 8, 4)
        scores = conv(graph, f"{name}.classes", value, 8, CLASSES)
        both = graph.node(f"{name}.both", "Concat", boxes, scores, axis=1)
        parts.append(graph.reshape(f"{name}.flat", both, (0, 4 + CLASSES, cells)))
    joined = graph.node("joined", "Concat", *parts, axis=2)
    boxes, scores = (
        graph.part("boxes", joined, 1, 0, 4),
        graph.node("scores", "Sigmoid", graph.part("logits", joined, 1, 4, 4 + CLASSES)),
    )
    y = graph.node("y", "Concat", boxes, scores, axis=1)
    return graph.build({y: ("batch", 4 + CLASSES, 30)})


def by_anchor() -> Graph:
    """Three anchors of one convolution, each with a box, objectness and classes."""
    graph, value = trunk()
    head = conv(graph, "head", value, 8, 3 * (5 + CLASSES))
    split = graph.reshape("split", head, (0, 3, 5 + CLASSES, 24))
    rows = graph.node("rows", "Transpose", split, perm=(0, 1, 3, 2))
    rows = graph.node("sigmoid", "Sigmoid", rows)
    y = graph.reshape("y", rows, (0, 72, 5 + CLASSES))
    return graph.build({y: ("batch", 72, 5 + CLASSES)})


def softmaxed() -> Graph:
    graph, value = trunk()
    shares = graph.node("shares", "Softmax", conv(graph, "classes", value, 8, CLASSES), axis=1)
    y = graph.node("y", "Concat", conv(graph, "boxes", value, 8, 5), shares, axis=1)
    return graph.build({y: ("batch", 5 + CLASSES, 4, 6)})


def read_again() -> Graph:
    """What is said of classes is an output, and read by a further layer."""
    graph, value = trunk()
    scores = graph.node("scores", "Sigmoid", conv(graph, "classes", value, 8, CLASSES))
    y = conv(graph, "more", scores, CLASSES, 5)
    shapes = {scores: ("batch", CLASSES, 4, 6), y: ("batch", 5, 4, 6)}
    return graph.build(dict(shapes))


def grouped() -> Graph:
    """Two runs of classes, from halves of the channels, that must stay equally long."""
    graph, value = trunk()
    y = conv(graph, "classes", value, 8, 2 * CLASSES, group=2)
    return graph.build({graph.node("y", "Identity", y): ("batch", 2 * CLASSES, 4, 6)})


def doubled() -> Graph:
    """One class's channel stands in the place of another, too."""
    graph, value = trunk()
    scores = conv(graph, "classes", value, 8, 3)
    y = graph.node("y", "Concat", scores, scores, axis=1)
    return graph.build({y: ("batch", 6, 4, 6)})


def task(name: str, axis: int, *kept: int) -> Task:
    return Task(classes=(0,), outputs={name: Entries(axis=axis, kept=kept)})


NETWORKS: dict[str, tuple[Callable[[], Graph], Task, dict[str, int], str]] = {
    # graph, task, filters that are left by node, why all rows stay
    "apart": (
        apart,
        task("y", 1, 0, 1, 2, 3, 5, 8),
        {"small.classes": 2, "large.classes": 2, "small.boxes": 4},
        "",
    ),
    "by anchor": (by_anchor, task("y", 2, 0, 1, 2, 3, 4, 6, 9), {"head": 21}, ""),
    "softmax": (softmaxed, task("y", 1, 0, 1, 2, 3, 4, 6, 9), {"classes": 7}, "normalized"),
    "read again": (read_again, task("scores", 1, 1, 4), {"classes": 7}, "read by other layers"),
    "grouped evenly": (grouped, task("y", 1, 1, 8), {"classes": 2}, ""),
    "grouped": (grouped, task("y", 1, 1, 2, 8), {"classes": 14}, "equal"),
    "a whole group": (grouped, task("y", 1, 1, 2), {"classes": 14}, "equal"),
    "doubled": (doubled, task("y", 1, 0, 1, 3, 4), {"classes": 2}, ""),
    "doubled apart": (doubled, task("y", 1, 0, 5), {"classes": 3}, "shared"),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_what_is_asked_for_stays_as_it_was_and_the_rest_goes(name: str) -> None:
    build, asked, filters, reason = NETWORKS[name]
    graph = build()
    parameters = random_parameters(graph)
    found = narrowing(graph, asked)
    narrow = edit(graph, parameters, found.edits)
    left = {node: narrow[0].parameters[f"{node}.kernel"].shape[0] for node in filters}
    assert left == filters
    assert [*found.whole] == ([*asked.outputs] if reason else [])
    assert all(reason in why for why in found.whole.values())
    assert narrow[0].outputs.keys() == graph.outputs.keys()
    inputs = random_images(graph, seed=3, batch=2)
    proof = prove_task((graph, parameters), narrow, found, inputs)
    assert proof.equal and proof.relative_error == 0 and proof.rounding <= 1e-14
    before = dict(zip(graph.outputs, outputs(graph, parameters, inputs), strict=True))
    for (own, value), given in zip(
        narrow[0].outputs.items(), outputs(*narrow, inputs), strict=True
    ):
        entries = asked.outputs.get(own)
        wanted = before[own]
        if entries is not None:
            wanted = wanted.index_select(entries.axis, torch.tensor(entries.kept))
        assert given.shape[1:] == value.shape[1:]
        torch.testing.assert_close(given, wanted, rtol=1e-12, atol=1e-13)


def test_rows_of_other_classes_are_noticed() -> None:
    graph = apart()
    parameters = random_parameters(graph)
    found = narrowing(graph, task("y", 1, 0, 1, 2, 3, 5))
    place = "large.classes", 1
    other = ArrayCut(blocks=({0: found.edits.arrays[place].blocks[0][0] + 1},))
    wrong = replace(found.edits, arrays={**found.edits.arrays, place: other})
    narrow = edit(graph, parameters, wrong)
    with pytest.raises(VerificationError, match="other scores than before"):
        prove_task((graph, parameters), narrow, found, random_images(graph))


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (replace(task("y", 1, 0), classes=()), "classes must be whole numbers that ascend"),
        (replace(task("y", 1, 0), classes=(1, 0)), "classes must be whole numbers that ascend"),
        (replace(task("y", 1, 0), classes=(-1,)), "classes must be whole numbers that ascend"),
        (task("z", 1, 0), "output z, which the network has not"),
        (task("y", 3, 0), "axis 3 of y, which has 3"),
        (task("y", 1), "must ascend within 0..10"),
        (task("y", 1, 2, 1), "must ascend within 0..10"),
        (task("y", 1, 0, 11), "must ascend within 0..10"),
    ],
)
def test_a_task_of_another_network_is_refused(asked: Task, message: str) -> None:
    with pytest.raises(PlanError, match=message):
        narrowing(apart(), asked)
