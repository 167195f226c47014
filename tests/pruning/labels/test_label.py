import numpy as np
import pytest

from yoloprune.graph.builder import GraphBuilder
from yoloprune.pruning.labels.label import label


def two_convs(middle: str = "Relu", axis: int | None = None) -> GraphBuilder:
    graph = GraphBuilder(opset=17)
    x = graph.node("first", "Conv", graph.input("images", ("batch", 3, 4, 4)),
                   graph.parameter("k1", (4, 3, 1, 1)))  # fmt: skip
    told = [] if axis is None else [graph.constant("axis", axis)]
    x = graph.node("middle", middle, x, *told)
    graph.node("last", "Conv", x, graph.parameter("k2", (2, 4, 1, 1)))
    return graph


def test_channels_are_born_by_kernels_and_go_on_to_their_readers() -> None:
    labels = label(two_convs().build({"last": ("batch", 2, 4, 4)}))
    first, last = labels.contractions
    assert np.array_equal(labels.values["middle"].reshape(-1), first.filters)
    assert np.array_equal(last.read, first.filters)
    assert len({*first.read.tolist(), *first.filters.tolist(), *last.filters.tolist()}) == 9
    reasons = [{labels.frozen.get(i) for i in ids.tolist()} for ids in (first.read, first.filters)]
    assert reasons == [{"network input"}, {None}]
    assert {labels.frozen[i] for i in last.filters.tolist()} == {"network output last"}


def test_what_mixes_channels_in_other_ways_keeps_what_it_reads() -> None:
    graph = two_convs("CumSum", axis=1)
    labels = label(graph.build({"last": ("batch", 2, 4, 4)}))
    first, last = labels.contractions
    reasons = {labels.frozen[i] for i in first.filters.tolist()}
    assert reasons == {"read by middle (CumSum)"}
    assert not last.read.any()


def test_channels_in_blocks_go_block_by_block() -> None:
    graph = two_convs()
    graph.in_blocks("middle", 2)
    labels = label(graph.build({"last": ("batch", 2, 4, 4)}))
    a, b, c, d = labels.values["middle"].reshape(-1).tolist()
    assert a == b != c == d


@pytest.mark.parametrize("rank", [1, 2, 3, 5])
def test_inputs_of_few_axes_hold_no_channels(rank: int) -> None:
    graph = GraphBuilder(opset=17)
    shape = (2, 3, 4, 4, 4)[:rank]
    labels = label(graph.build({graph.node("y", "Relu", graph.input("x", shape)): shape}))
    assert labels.values["x"].any() == (rank >= 3)


@pytest.mark.parametrize("convolved", [False, True])
def test_words_hold_no_channels_along_their_number(convolved: bool) -> None:
    graph = GraphBuilder(opset=17)
    x = graph.input("words", (2, 3, 4))
    if convolved:
        x = graph.node("conv", "Conv", x, graph.parameter("kernel", (3, 3, 1)))
    hidden = graph.node("first", "MatMul", x, graph.parameter("a", (4, 6)))
    y = graph.node("second", "MatMul", hidden, graph.parameter("b", (6, 5)))
    labels = label(graph.build({y: (2, 3, 5)}))
    assert labels.values["words"].any() == convolved
    assert labels.values["first"].shape == ((1, 3, 1) if convolved else (1, 1, 6))
