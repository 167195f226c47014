"""Groups against Torch-Pruning's trace, against known counts, and by hand."""

import tracemalloc

import pytest

from tests import architectures
from tests.frontends.darknet.sections import NET, conv
from tests.pruning.darknet import dependencies, layer
from yoloprune.frontends.darknet.parser import parse_cfg
from yoloprune.frontends.darknet.zoo import NETWORKS, yolov3
from yoloprune.graph.builder import GraphBuilder
from yoloprune.pruning.groups import analyze
from yoloprune.pruning.torch_pruning_check import cross_check


@pytest.mark.parametrize(
    ("name", "prunable"), [("yolov3", 49), ("yolov3-spp", 50), ("yolov3-tiny", 11)]
)
def test_groups_equal_torch_prunings_trace(name: str, prunable: int) -> None:
    # A narrow network of the same structure: the trace takes seconds at full width.
    graph = dependencies(NETWORKS[name](classes=1, width=0.125, size=(64, 64)))
    assert len(graph.prunable) == prunable
    check = cross_check(graph)
    assert check.passed, (check.only_ours, check.only_traced)
    assert len(check.agreed) == prunable


def test_yolov3_has_five_coupled_residual_stages() -> None:
    coupled = [group for group in dependencies(yolov3(classes=1)).prunable if group.coupled]
    assert [(g.size, len(g.producers)) for g in coupled] == [
        (64, 2),
        (128, 3),
        (256, 9),
        (512, 9),
        (1024, 5),
    ]


def test_the_worked_example_of_the_module() -> None:
    graph = dependencies(
        parse_cfg(
            "[net]\nheight=8\nwidth=8\nchannels=3\n"
            "[convolutional]\nfilters=4\nactivation=leaky\n"
            "[convolutional]\nfilters=4\nactivation=leaky\n"
            "[shortcut]\nfrom=-2\nactivation=linear\n"
            "[convolutional]\nfilters=2\nactivation=linear\n"
        )
    )
    coupled, output = graph.groups
    assert [layer(m.node) for m in coupled.producers] == [0, 1]
    assert [layer(m.node) for m in coupled.consumers] == [1, 3]
    assert coupled.size == 4
    assert output.frozen_because == "network output output"


def test_what_a_head_reads_is_frozen_and_says_why() -> None:
    frozen = [g for g in dependencies(yolov3(classes=1)).groups if g.frozen_because]
    assert [g.frozen_because for g in frozen] == [
        "network output head_82",
        "network output head_94",
        "network output head_106",
    ]


def test_a_grouped_route_makes_equal_parts() -> None:
    graph = dependencies(architectures.yolov4_tiny(classes=1))
    halved = [group for group in graph.prunable if group.equal_parts == 2]
    assert [(layer(g.producers[0].node), g.size) for g in halved] == [(2, 64), (10, 128), (18, 256)]


SLICED_SUM = (
    "[net]\nheight=8\nwidth=8\nchannels=3\n"
    "[convolutional]\nfilters=6\nactivation=leaky\n"
    "[convolutional]\nfilters=3\nactivation=leaky\n"
    "[route]\nlayers=0\ngroups=2\ngroup_id=1\n"
    "[shortcut]\nfrom=-2\nactivation=linear\n"
    "[convolutional]\nfilters=2\nactivation=linear\n"
)


def test_parts_of_different_groups_are_tied_channel_by_channel() -> None:
    # The second half of conv 0 is added to conv 1, the first half is not: two sets of producers.
    # Cutting the halves equally is only sure if each channel goes with its opposite number.
    graph = dependencies(parse_cfg(SLICED_SUM))
    tied = graph.prunable[0]
    assert tied.size == 3
    assert [(layer(m.node), len(m.positions)) for m in tied.producers] == [(0, 6), (1, 3)]
    assert tied.equal_parts == 1


def test_a_depthwise_convolution_joins_the_group_that_it_reads() -> None:
    graph = dependencies(
        parse_cfg(
            "[net]\nheight=8\nwidth=8\nchannels=3\n"
            "[convolutional]\nfilters=4\nactivation=leaky\n"
            "[convolutional]\nfilters=8\ngroups=4\nsize=3\npad=1\nactivation=leaky\n"
            "[convolutional]\nfilters=2\nactivation=linear\n"
        )
    )
    group = graph.prunable[0]
    assert [(layer(m.node), len(m.positions)) for m in group.producers] == [(0, 4), (1, 8)]
    assert [(layer(m.node), len(m.positions)) for m in group.consumers] == [(2, 8)]


@pytest.mark.parametrize("taken", [[1, 1, 1, 1, 1, -1], [0, 2], [3] * 8])
def test_of_the_channels_that_a_gather_takes_some_stay(taken: list[int]) -> None:
    graph = GraphBuilder(opset=17, dtype="float64")
    x = graph.input("x", (1, 3, 4, 4))
    first = graph.node("first", "Conv", x, graph.parameter("w1", (6, 3, 1, 1)))
    some = graph.node("some", "Gather", first, graph.constant("taken", taken), axis=1)
    y = graph.node("second", "Conv", some, graph.parameter("w2", (2, len(taken), 1, 1)))
    z = graph.node("third", "Conv", first, graph.parameter("w3", (2, 6, 1, 1)))
    dependencies = analyze(graph.build({y: (1, 2, 4, 4), z: (1, 2, 4, 4)}))
    apart = {g.channels for g in dependencies.groups if g.frozen_because is None}
    ids = dependencies.labels.values[first].reshape(-1)
    kept = tuple(sorted({int(ids[i]) for i in taken}))
    assert apart == {kept, tuple(sorted({*ids.tolist()} - {*kept}))}


def test_channels_of_which_a_pad_takes_some_away_stay() -> None:
    graph = GraphBuilder(opset=17, dtype="float64")
    x = graph.input("x", (1, 3, 4, 4))
    first = graph.node("first", "Conv", x, graph.parameter("w1", (6, 3, 1, 1)))
    pads = graph.constant("pads", [0, -2, 0, 0, 0, 0, 0, 0])
    y = graph.node(
        "second", "Conv", graph.node("pad", "Pad", first, pads), graph.parameter("w2", (2, 4, 1, 1))
    )
    (group, _) = analyze(graph.build({y: (1, 2, 4, 4)})).groups
    assert group.frozen_because == "moved by pad (Pad), whose order is computed"


def test_a_long_chain_of_producers_is_not_copied_for_each_of_them() -> None:
    def peak(blocks: int) -> int:
        text = NET.format(8) + conv(8) + (conv(8) + conv(8) + "[shortcut]\nfrom=-3\n") * blocks
        spec = parse_cfg(text)
        tracemalloc.start()
        graph = dependencies(spec)
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        coupled = [group for group in graph.groups if group.coupled]
        assert [len(group.producers) for group in coupled] == [1 + blocks]
        return found

    # Memory, which unlike time is the same on every machine.
    assert peak(700) < 2.3 * peak(350)
