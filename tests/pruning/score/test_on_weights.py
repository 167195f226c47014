"""Criteria against plain loops over the definition, and against Torch-Pruning's own."""

import numpy as np
import pytest
import torch

from tests.random_networks import random_state
from yoloprune.errors import PlanError
from yoloprune.frontends.darknet.lower import lower, parameters
from yoloprune.frontends.darknet.parser import parse_cfg
from yoloprune.frontends.darknet.zoo import yolov3
from yoloprune.pruning.groups import ChannelGroup, analyze
from yoloprune.pruning.layers import layers_of
from yoloprune.pruning.score.on_weights import CRITERIA, criterion_named, score

SPEC = yolov3(classes=1, width=0.0625, size=(64, 64))
STATE = random_state(SPEC, 3, torch.float32)
ARRAYS = parameters(STATE)
GRAPH = analyze(lower(SPEC))
LAYERS = layers_of(GRAPH)


def filters_of(group: ChannelGroup, channel: int) -> list[tuple[str, int]]:
    """(node, filter) of each producer of a channel."""
    return [
        (member.node, position)
        for member in group.producers
        for position, number in zip(member.positions, member.channels, strict=True)
        if number == channel
    ]


def by_definition(name: str, group: ChannelGroup, channel: int) -> float:
    values = []
    for layer, row in filters_of(group, channel):
        prefix = layer.removesuffix(".conv")
        kernel = ARRAYS[f"{prefix}.kernel"].double().numpy()
        gamma = ARRAYS[f"{prefix}.scale"].double().numpy()[row]
        variance = ARRAYS[f"{prefix}.variance"].double().numpy()[row]
        values.append(
            {
                "l2": np.sqrt((kernel[row] ** 2).sum()),
                "l1": np.abs(kernel[row]).sum(),
                "bn-scale": abs(gamma),
                "l2-folded": np.sqrt(((kernel[row] * gamma / np.sqrt(variance + 1e-5)) ** 2).sum()),
                "fpgm": sum(np.sqrt(((kernel[row] - other) ** 2).sum()) for other in kernel),
            }[name]
        )
    return float(np.mean(values))


@pytest.mark.parametrize("name", ["l2", "l1", "bn-scale", "l2-folded", "fpgm"])
def test_a_criterion_computes_its_definition(name: str) -> None:
    for group in (GRAPH.prunable[0], next(g for g in GRAPH.prunable if g.coupled)):
        scores = CRITERIA[name](group, LAYERS, ARRAYS)
        expected = [by_definition(name, group, channel) for channel in range(group.size)]
        np.testing.assert_allclose(scores, expected, rtol=1e-5)


def test_l2_ranks_as_torch_pruning_does() -> None:
    import torch_pruning as tp
    from torch import nn

    group = next(g for g in GRAPH.prunable if not g.coupled and len(g.consumers) == 1)
    kernel = ARRAYS[LAYERS[group.producers[0].node].kernel]
    conv = nn.Conv2d(*kernel.shape[1::-1], tuple(kernel.shape[2:]), bias=False)
    conv.weight = nn.Parameter(kernel.float())
    network = nn.Sequential(conv, nn.Conv2d(len(kernel), 1, 1))
    images = torch.zeros(1, kernel.shape[1], 8, 8)
    graph = tp.DependencyGraph().build_dependency(network, images)
    magnitude = tp.importance.GroupMagnitudeImportance(
        p=2, group_reduction="mean", normalizer=None, target_types=[nn.Conv2d]
    )
    # Torch-Pruning adds the consumers' columns; restrict its group to the producer.
    traced = graph.get_pruning_group(conv, tp.prune_conv_out_channels, list(range(group.size)))
    producer = tp.dependency.Group()
    producer._group = [traced._group[0]]
    producer._DG = graph
    theirs = magnitude(producer).detach().numpy()
    ours = CRITERIA["l2"](group, LAYERS, ARRAYS)
    np.testing.assert_allclose(np.argsort(theirs, kind="stable"), np.argsort(ours, kind="stable"))


def test_random_is_seeded_and_differs_between_groups() -> None:
    first, again, other = (
        score(GRAPH, ARRAYS, criterion_named("random", seed)) for seed in (1, 1, 2)
    )
    assert all(np.array_equal(first[i], again[i]) for i in first)
    assert not np.array_equal(first[0], other[0])
    same_size = [g.id for g in GRAPH.prunable if g.size == GRAPH.prunable[0].size]
    assert not np.array_equal(first[same_size[0]], first[same_size[1]])


def test_an_unknown_criterion_names_the_known_ones() -> None:
    with pytest.raises(PlanError, match="l2-folded"):
        criterion_named("magic")


def test_bn_scale_without_batch_norm_names_the_layer() -> None:
    spec = parse_cfg(
        "[net]\nheight=8\nwidth=8\nchannels=3\n[convolutional]\nfilters=4\nactivation=leaky\n"
        "[convolutional]\nfilters=2\nactivation=linear\n"
    )
    with pytest.raises(PlanError, match=r"layer_0\.conv has no batch norm"):
        score(analyze(lower(spec)), parameters(random_state(spec)), CRITERIA["bn-scale"])
