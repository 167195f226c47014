"""Measured criteria against brute force over their definitions."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.pruning.memory import PeakOfTensors
from tests.pruning.networks import every_contraction, random_images, random_parameters
from tests.pruning.score.convolutions import CFG
from tests.random_networks import network_specs, random_state
from yoloprune.execution.stream import arrays_like, computed, only_input
from yoloprune.frontends.darknet.curvature import curvatures
from yoloprune.frontends.darknet.initialization import training_state
from yoloprune.frontends.darknet.lower import lower, parameters
from yoloprune.frontends.darknet.parser import parse_cfg
from yoloprune.frontends.darknet.spec import NetworkSpec
from yoloprune.frontends.darknet.zoo import yolov3_tiny
from yoloprune.graph.builder import GraphBuilder
from yoloprune.pruning.budget import Budget
from yoloprune.pruning.groups import DependencyGraph, analyze
from yoloprune.pruning.layers import layers_of
from yoloprune.pruning.recover.layer import RIDGE
from yoloprune.pruning.score.on_images import (
    activation_scores,
    images_at_once,
    memory_needed,
    reconstruction_scores,
    taylor_scores,
)
from yoloprune.pruning.score.sensitivity import sensitivities
from yoloprune.pruning.solve import solve

SPEC = parse_cfg(CFG)
GRAPH = analyze(lower(SPEC))
STATE = parameters(random_state(SPEC))
IMAGES = torch.rand(4, 3, 10, 10, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
CHANNEL_MACS = 10 * 10 * (3 + 4 * 9)
"""What a channel of group 0 costs: its filter, and its columns in layer 1."""


def read_by_layer_1() -> torch.Tensor:
    arrays = arrays_like(GRAPH.graph, STATE, IMAGES)
    return computed(GRAPH.graph, arrays, {"images": IMAGES}, ["layer_0.leaky"])["layer_0.leaky"]


def filters_of(graph: DependencyGraph) -> dict[str, int]:
    return {name: layer.filters for name, layer in layers_of(graph).items()}


def test_the_first_channel_to_go_is_the_one_whose_best_refit_loses_least() -> None:
    weights = {n: torch.linspace(1, 2, f).double() for n, f in filters_of(GRAPH).items()}
    scores = reconstruction_scores(GRAPH, STATE, IMAGES, weights)[0]
    # Every place of every image is a sample here: 4 x 100 of 55 unknowns.
    u = torch.nn.functional.unfold(read_by_layer_1(), 3, padding=1)
    u = u.transpose(1, 2).reshape(400, 54).numpy()
    kernel = STATE["layer_1.kernel"].flatten(1).numpy()
    y = u @ kernel.T
    root = np.sqrt(RIDGE * np.mean(np.square(u).sum(axis=0)))
    losses = []
    for channel in range(6):
        left = np.delete(np.arange(54), range(9 * channel, 9 * channel + 9))
        # With the ridge of the Gram matrix, which counts towards the residual.
        design = np.vstack([np.hstack([u, np.ones((400, 1))]), np.eye(54, 55) * root])
        target = np.vstack([y, root * kernel.T])
        best = np.linalg.lstsq(design[:, [*left, 54]], target, rcond=None)[0]
        residual = np.square(design[:, [*left, 54]] @ best - target).sum(axis=0)
        losses.append((residual * weights["layer_1.conv"].numpy()).sum() / 400)
    assert np.argmin(scores) == np.argmin(losses)
    np.testing.assert_allclose(scores.min(), min(losses) / CHANNEL_MACS, rtol=1e-6)


def test_images_in_batches_score_as_they_do_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    # All places are samples; 18 images that differ.
    images = torch.cat([(n + 1) * IMAGES[:3].roll(n, 2) for n in range(6)])
    weights = {name: torch.ones(filters).double() for name, filters in filters_of(GRAPH).items()}

    def scores() -> list[np.ndarray[Any, Any]]:
        found = [reconstruction_scores(GRAPH, STATE, images, weights)]
        return [own[0] for own in (*found, activation_scores(GRAPH, STATE, images))]

    whole = scores()
    monkeypatch.setattr("yoloprune.execution.stream.LIMIT", 0)
    assert images_at_once(GRAPH, 18) == 8
    for parts, expected in zip(scores(), whole, strict=True):
        np.testing.assert_allclose(parts, expected, rtol=1e-9)


def test_a_copy_of_a_channel_costs_nothing_but_the_second_copy_does() -> None:
    copied = [0, 1, 2, 3, 4, 0]
    state = {n: t[copied] if n.startswith("layer_0.") else t for n, t in STATE.items()}
    weights = {name: torch.ones(filters).double() for name, filters in filters_of(GRAPH).items()}
    scores = reconstruction_scores(GRAPH, state, IMAGES, weights)[0]
    first, second = sorted(scores[[0, 5]])
    assert first < 0.05 * second


def test_activation_is_its_definition() -> None:
    scores = activation_scores(GRAPH, STATE, IMAGES)[0]
    means = read_by_layer_1().abs().mean(dim=(0, 2, 3)).numpy()
    norms = np.sqrt(np.square(STATE["layer_1.kernel"].numpy()).sum(axis=(0, 2, 3)))
    np.testing.assert_allclose(scores, means * norms / (means * norms).mean())


def test_every_image_counts_as_much_in_the_last_chunk() -> None:
    images = torch.cat([IMAGES, IMAGES, 5 * IMAGES[:1]])
    images[:4] *= torch.arange(4.0)[:, None, None, None]
    # Nine images: a chunk of eight and one of one. The order must not matter.
    first, last = (activation_scores(GRAPH, STATE, x)[0] for x in (images, images.flip(0)))
    np.testing.assert_allclose(first, last)


def test_taylor_sums_over_readers_and_squares_over_images() -> None:
    spec = parse_cfg(
        CFG.replace("filters=4", "filters=6").replace(
            "[convolutional]\nfilters=5", "[shortcut]\nfrom=-2\n[convolutional]\nfilters=5"
        )
    )
    graph = analyze(lower(spec))
    generator = np.random.default_rng(0)
    gradients = {"layer_0.conv": generator.normal(size=(3, 3))}
    gradients |= {f"layer_{index}.conv": generator.normal(size=(3, 6)) for index in (1, 3)}
    (group,) = graph.prunable
    assert [m.node for m in group.consumers] == ["layer_1.conv", "layer_3.conv"]
    saved = 10 * 10 * (3 + 6 * 9 + 6 * 9 + 5)
    expected = np.square(gradients["layer_1.conv"] + gradients["layer_3.conv"]).mean(axis=0) / saved
    np.testing.assert_allclose(taylor_scores(graph, gradients)[group.id], expected)


def test_taylor_counts_a_channel_once_that_a_depthwise_convolution_passes_on() -> None:
    spec = parse_cfg(CFG.replace("filters=4", "filters=6\ngroups=6"))
    graph = analyze(lower(spec))
    generator = np.random.default_rng(0)
    gradients = {f"layer_{index}.conv": generator.normal(size=(3, 6)) for index in (0, 1, 2)}
    (group,) = graph.prunable
    saved = 10 * 10 * (3 + 9 + 5)
    expected = np.square(gradients["layer_2.conv"]).mean(axis=0) / saved
    np.testing.assert_allclose(taylor_scores(graph, gradients)[group.id], expected)


@pytest.mark.parametrize(
    ("spec", "count"),
    [
        (yolov3_tiny(classes=2, width=0.125, size=(96, 96)), 8),  # Large kernels, small maps.
        (yolov3_tiny(classes=2, width=0.0625, size=(224, 224)), 16),  # The other way round.
    ],
)
def test_the_memory_is_about_what_was_said(spec: NetworkSpec, count: int) -> None:
    peak, said = peak_of(spec, count)
    assert peak < 1.2 * said and said < 2 * peak


def peak_of(spec: NetworkSpec, count: int) -> tuple[int, int]:
    """What is held at most while so many images score a network; what it was said to be."""
    state, graph = parameters(training_state(spec)), analyze(lower(spec))
    images = torch.rand(count, *spec.input_shape, generator=torch.Generator().manual_seed(0))
    weights = {name: torch.ones(filters).double() for name, filters in filters_of(graph).items()}
    with PeakOfTensors() as tensors:
        reconstruction_scores(graph, state, images, weights)
    network = sum(tensor.nbytes for tensor in state.values())
    return tensors.peak, network + memory_needed(graph, count)


def test_more_images_need_no_more_than_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    limit, count = 20_000_000, 40
    spec = yolov3_tiny(classes=2, width=0.0625, size=(224, 224))
    assert memory_needed(analyze(lower(spec)), count) > 2 * limit
    monkeypatch.setattr("yoloprune.execution.stream.LIMIT", limit)
    peak, said = peak_of(spec, count)
    # The images are the caller's.
    assert peak - count * 4 * 3 * 224 * 224 < 1.2 * said and said <= limit


@given(spec=network_specs(max_blocks=4), seed=st.integers(0, 9))
@settings(max_examples=12)
def test_every_network_can_be_scored_and_cut(spec: NetworkSpec, seed: int) -> None:
    state, graph = parameters(random_state(spec, seed)), analyze(lower(spec))
    images = torch.rand(2, *spec.input_shape, dtype=torch.float64)
    weights = sensitivities(graph, state, images, curvatures(spec))
    found = [
        reconstruction_scores(graph, state, images, weights),
        activation_scores(graph, state, images),
    ]
    for scores in found:
        assert all(np.isfinite(own).all() and (own >= 0).all() for own in scores.values())
        solve(graph, scores, Budget(limits={"channels": 1.0}), criterion="test")


def test_every_contraction_is_scored_by_what_reads_it() -> None:
    graph = analyze(every_contraction())
    state, images = random_parameters(graph.graph), random_images(graph.graph, count=40)
    weights = sensitivities(graph, state, images)
    found = reconstruction_scores(graph, state, images, weights)
    assert [len(scores) for scores in found.values()] == [group.size for group in graph.prunable]
    for scores in (found, activation_scores(graph, state, images)):
        # What a ReLU lets nothing of through is worth nothing.
        assert all((own >= 0).all() and own.max() > 0 for own in scores.values())


def test_groups_that_the_same_layer_reads_are_not_all_cheap() -> None:
    graph = GraphBuilder(opset=17, dtype="float64")
    x = graph.input("x", (8, 30, 6))
    a, b = (graph.node(n, "MatMul", x, graph.parameter(f"{n}.kernel", (6, 4))) for n in "ab")
    both = graph.node("both", "Concat", a, b, axis=-1)
    y = graph.node("y", "MatMul", both, graph.parameter("last.kernel", (8, 3)))
    dependencies = analyze(graph.build({y: (8, 30, 3)}))
    assert len(dependencies.prunable) == 2
    arrays = random_parameters(dependencies.graph)
    arrays["b.kernel"] = arrays["a.kernel"].clone()
    images = random_images(dependencies.graph, count=8)
    weights = {n: torch.ones(f).double() for n, f in filters_of(dependencies).items()}
    first, second = reconstruction_scores(dependencies, arrays, images, weights).values()
    # Of two that say the same only one goes cheaply, whichever group it is in.
    cheap, dear = np.minimum(first, second), np.maximum(first, second)
    assert (cheap < 0.05 * dear).all()


def test_queries_and_keys_count_though_no_kernel_reads_them() -> None:
    graph = GraphBuilder(opset=17, dtype="float64")
    x = graph.node("turned", "Transpose", graph.input("x", (4, 6, 10)), perm=(0, 2, 1))
    q, k, v = (
        graph.node(name, "MatMul", x, graph.parameter(f"{name}.kernel", (6, 5))) for name in "qkv"
    )
    keys = graph.node("keys", "Transpose", k, perm=(0, 2, 1))
    mixed = graph.node("mixed", "Softmax", graph.node("product", "MatMul", q, keys), axis=-1)
    last = graph.parameter("last.kernel", (5, 3))
    y = graph.node("y", "MatMul", graph.node("sum", "MatMul", mixed, v), last)
    dependencies = analyze(graph.build({y: (4, 10, 3)}))
    arrays = random_parameters(dependencies.graph)
    arrays["q.kernel"] *= torch.tensor([0.0, 0.1, 1.0, 2.0, 4.0], dtype=torch.float64)
    arrays["k.kernel"][:, 0] = 0
    images = torch.rand(4, 6, 10, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    weights = sensitivities(dependencies, arrays, images)
    found = reconstruction_scores(dependencies, arrays, images, weights)
    (group,) = (g for g in dependencies.prunable if {m.node for m in g.producers} == {"q", "k"})
    name = only_input(dependencies.graph)
    known = arrays_like(dependencies.graph, arrays, images)
    values = computed(dependencies.graph, known, {name: images}, ["q", "k"])
    expected = sum(weights[own] * values[own].square().mean(dim=(0, 1)) for own in ("q", "k"))
    # Each channel costs 10 x 6 multiplications in either, for each of four images.
    np.testing.assert_allclose(found[group.id], expected.numpy() / (2 * 10 * 6 * 4), rtol=1e-9)
    assert found[group.id][0] == 0 and (found[group.id][1:] > 0).all()
