from dataclasses import replace

import numpy as np
import torch

from yoloprune.graph.builder import GraphBuilder
from yoloprune.graph.edits import edit
from yoloprune.graph.graph import Graph, Held
from yoloprune.pruning.cut import removal
from yoloprune.pruning.groups import analyze
from yoloprune.pruning.labels.label import label


def two_convs() -> Graph:
    graph = GraphBuilder(opset=17)
    x = graph.node("first", "Conv", graph.input("images", ("batch", 3, 4, 4)),
                   graph.parameter("k1", (4, 3, 1, 1)))  # fmt: skip
    graph.node("last", "Conv", x, graph.parameter("k2", (2, 4, 1, 1)))
    return graph.build({"last": ("batch", 2, 4, 4)})


def test_runs_that_a_format_reads_apart_go_in_pairs() -> None:
    graph = replace(two_convs(), parts={"first": (1, 2)})
    first, _ = label(graph).contractions
    assert np.array_equal(first.filters[:2], first.filters[2:])
    assert first.filters[0] != first.filters[1]
    assert graph.digest() != two_convs().digest()


def test_filters_that_are_held_stay_for_the_reason_that_is_given() -> None:
    graph = replace(two_convs(), held=(Held(node="first", filters=(1, 2), reason="asked for"),))
    groups = analyze(graph).groups
    assert [(group.size, group.frozen_because) for group in groups[:2]] == [
        (2, None),
        (2, "asked for"),
    ]
    assert graph.digest() != two_convs().digest()


def test_what_is_held_has_the_numbers_of_what_is_left() -> None:
    held = (Held(node="first", filters=(1, 3), reason="asked for"),
            Held(node="gone", filters=(9,), reason="of no kernel"))  # fmt: skip
    graph = analyze(replace(two_convs(), held=held))
    (free,) = graph.prunable
    assert free.producers[0].positions == (0, 2)
    edits = removal(graph, graph.kept({free.id: (1,)}))
    tensors = {name: torch.ones(own.shape) for name, own in graph.graph.parameters.items()}
    slim, _ = edit(graph.graph, tensors, edits)
    assert slim.held == (replace(held[0], filters=(0, 2)), held[1])
    (left,) = analyze(slim).prunable
    assert left.producers[0].positions == (1,)


def heads(*, alike: bool, other: str = "Conv") -> Graph:
    graph = GraphBuilder(opset=17)
    kernel = graph.parameter("k", (4, 4, 1, 1))
    images = graph.input("images", ("batch", 3, 4, 4))
    for name in ("a", "b"):
        x = graph.node(f"{name}.stem", "Conv", images, graph.parameter(f"{name}.k", (4, 3, 1, 1)))
        if name == "a" or other == "Conv":
            x = graph.node(f"{name}.head", "Conv", x, kernel)
        else:
            x = graph.node(f"{name}.head", other, x, graph.node("sum", "ReduceSum", kernel))
        graph.node(f"{name}.out", "Conv", x, graph.parameter(f"{name}.last", (2, 4, 1, 1)))
    built = graph.build(dict.fromkeys(("a.out", "b.out"), ("batch", 2, 4, 4)))
    return replace(built, alike=("k",)) if alike else built


def producers(graph: Graph) -> list[list[str]]:
    return [[own.node for own in group.producers] for group in analyze(graph).prunable]


def test_a_kernel_that_is_cut_once_for_all_makes_one_of_what_its_readers_give_and_read() -> None:
    assert producers(heads(alike=False)) == [["a.stem"], ["a.head"], ["b.stem"], ["b.head"]]
    assert producers(heads(alike=True)) == [["a.stem", "b.stem"], ["a.head", "b.head"]]


def test_a_kernel_that_is_read_in_another_way_elsewhere_stays_whole() -> None:
    graph = analyze(heads(alike=True, other="Mul"))
    reasons = {own.producers[0].node: own.frozen_because for own in graph.groups}
    assert reasons["a.head"] == reasons["a.stem"] == "k is read in another way by sum"
    assert reasons["b.stem"] is None
