"""Measured criteria against brute force over their definitions."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.pruning.memory import PeakOfTensors
from tests.random_networks import network_specs, random_state
from yoloprune.darknet.parser import parse_cfg
from yoloprune.darknet.spec import Layer, NetworkSpec
from yoloprune.darknet.zoo import yolov3_tiny
from yoloprune.model.initialization import training_state
from yoloprune.model.network import Network
from yoloprune.pruning.budget import solve
from yoloprune.pruning.fitting import RIDGE
from yoloprune.pruning.groups import analyse
from yoloprune.pruning.plan import Budget
from yoloprune.pruning.selection import (
    activation_scores,
    memory_needed,
    reconstruction_scores,
    taylor_scores,
)
from yoloprune.pruning.sensitivity import sensitivities

CFG = """[net]
height=10
width=10
channels=3
[convolutional]
batch_normalize=1
filters=6
size=1
activation=leaky
[convolutional]
batch_normalize=1
filters=4
size=3
pad=1
activation=leaky
[convolutional]
filters=5
size=1
activation=linear
"""
SPEC = parse_cfg(CFG)
GRAPH = analyse(SPEC)
STATE = random_state(SPEC)
IMAGES = torch.rand(4, 3, 10, 10, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
CHANNEL_MACS = 10 * 10 * (3 + 4 * 9)
"""What a channel of group 0 costs: its filter, and its columns in layer 1."""


def read_by_layer_1() -> torch.Tensor:
    seen = {}
    Network.from_state(SPEC, STATE)(IMAGES, lambda layer, x: seen.setdefault(layer.index, x))
    return seen[0].detach()


def test_the_first_channel_to_go_is_the_one_whose_best_refit_loses_least() -> None:
    weights = {index: torch.linspace(1, 2, len(p.bias)).double() for index, p in STATE.items()}
    scores = reconstruction_scores(GRAPH, STATE, IMAGES, weights)[0]
    # Every place of every image is a sample here: 4 x 100 of 55 unknowns.
    u = torch.nn.functional.unfold(read_by_layer_1(), 3, padding=1)
    u = u.transpose(1, 2).reshape(400, 54).numpy()
    kernel = STATE[1].kernel.flatten(1).numpy()
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
        losses.append((residual * weights[1].numpy()).sum() / 400)
    assert np.argmin(scores) == np.argmin(losses)
    np.testing.assert_allclose(scores.min(), min(losses) / CHANNEL_MACS, rtol=1e-6)


def test_a_copy_of_a_channel_costs_nothing_but_the_second_copy_does() -> None:
    state = dict(STATE)
    state[0] = replace(
        state[0],
        **{name: t[[0, 1, 2, 3, 4, 0]] for name, t in state[0].items()},
    )
    weights = {index: torch.ones(len(p.bias)).double() for index, p in state.items()}
    scores = reconstruction_scores(GRAPH, state, IMAGES, weights)[0]
    first, second = sorted(scores[[0, 5]])
    assert first < 0.05 * second


def test_activation_is_its_definition() -> None:
    scores = activation_scores(GRAPH, STATE, IMAGES)[0]
    means = read_by_layer_1().abs().mean(dim=(0, 2, 3)).numpy()
    norms = np.sqrt(np.square(STATE[1].kernel.numpy()).sum(axis=(0, 2, 3)))
    np.testing.assert_allclose(scores, means * norms / (means * norms).mean())


def test_every_image_counts_as_much_in_the_last_chunk() -> None:
    images = torch.cat([IMAGES, IMAGES, 5 * IMAGES[:1]])
    images[:4] *= torch.arange(4.0)[:, None, None, None]
    # Nine images: a chunk of eight and one of one. The order must not matter.
    first, last = (activation_scores(GRAPH, STATE, x)[0] for x in (images, images.flip(0)))
    np.testing.assert_allclose(first, last)


def test_a_single_output_value_gives_finite_sensitivities() -> None:
    text = CFG.replace("height=10", "height=1").replace("width=10", "width=1")
    spec = parse_cfg(text)
    images = torch.rand(3, 3, 1, 1, dtype=torch.float64)
    weights = sensitivities(spec, random_state(spec), images)
    assert all(values.isfinite().all() for values in weights.values())


def test_taylor_sums_over_readers_and_squares_over_images() -> None:
    spec = parse_cfg(
        CFG.replace("filters=4", "filters=6").replace(
            "[convolutional]\nfilters=5", "[shortcut]\nfrom=-2\n[convolutional]\nfilters=5"
        )
    )
    graph = analyse(spec)
    generator = np.random.default_rng(0)
    gradients = {0: generator.normal(size=(3, 3))}
    gradients |= {index: generator.normal(size=(3, 6)) for index in (1, 3)}
    (group,) = graph.prunable
    assert [member.layer for member in group.consumers] == [1, 3]
    saved = 10 * 10 * (3 + 6 * 9 + 6 * 9 + 5)
    expected = np.square(gradients[1] + gradients[3]).mean(axis=0) / saved
    np.testing.assert_allclose(taylor_scores(graph, gradients)[group.id], expected)


def test_taylor_counts_a_channel_once_that_a_depthwise_convolution_passes_on() -> None:
    spec = parse_cfg(CFG.replace("filters=4", "filters=6\ngroups=6"))
    graph = analyse(spec)
    generator = np.random.default_rng(0)
    gradients = {index: generator.normal(size=(3, 6)) for index in (0, 1, 2)}
    (group,) = graph.prunable
    saved = 10 * 10 * (3 + 9 + 5)
    expected = np.square(gradients[2]).mean(axis=0) / saved
    np.testing.assert_allclose(taylor_scores(graph, gradients)[group.id], expected)


@pytest.mark.parametrize(
    ("spec", "count"),
    [
        (yolov3_tiny(classes=2, width=0.125, size=(96, 96)), 8),  # Large kernels, small maps.
        (yolov3_tiny(classes=2, width=0.0625, size=(224, 224)), 16),  # The other way round.
    ],
)
def test_the_memory_is_about_what_was_said(spec: NetworkSpec, count: int) -> None:
    state, graph = training_state(spec), analyse(spec)
    images = torch.rand(count, *spec.input_shape, generator=torch.Generator().manual_seed(0))
    weights = {conv.index: torch.ones(conv.filters).double() for conv in spec.convs}
    with PeakOfTensors() as tensors:
        reconstruction_scores(graph, state, images, weights)
    network = sum(tensor.nbytes for own in state.values() for _, tensor in own.items())
    said = network + memory_needed(graph, count)
    assert tensors.peak < 1.2 * said and said < 2 * tensors.peak


@given(spec=network_specs(max_blocks=4), seed=st.integers(0, 9))
@settings(max_examples=12)
def test_every_network_can_be_scored_and_cut(spec: NetworkSpec, seed: int) -> None:
    state, graph = random_state(spec, seed), analyse(spec)
    images = torch.rand(2, *spec.input_shape, dtype=torch.float64)
    weights = sensitivities(spec, state, images)
    found = [
        reconstruction_scores(graph, state, images, weights),
        activation_scores(graph, state, images),
    ]
    for scores in found:
        assert all(np.isfinite(own).all() and (own >= 0).all() for own in scores.values())
        solve(graph, scores, Budget(keep_channels=1.0), criterion="test")


HEADED = """[net]
height=6
width=6
channels=3
[convolutional]
filters=4
size=1
activation=linear
[convolutional]
batch_normalize=1
filters=5
size=3
pad=1
activation=leaky
[convolutional]
filters=7
size=1
activation={activation}
[yolo]
anchors=8,8
mask=0
num=1
classes=2
new_coords={new_coords}
"""


@pytest.mark.parametrize(("activation", "new_coords"), [("linear", 0), ("logistic", 1)])
def test_sensitivity_predicts_the_divergence_that_noise_makes(
    activation: str, new_coords: int
) -> None:
    spec = parse_cfg(HEADED.format(activation=activation, new_coords=new_coords))
    state = random_state(spec, 0)
    generator = torch.Generator().manual_seed(3)
    image = torch.rand(1, *spec.input_shape, dtype=torch.float64, generator=generator)
    # Many probes of the same image stand for the expectation.
    weights = sensitivities(spec, state, image.expand(1500, -1, -1, -1))
    network, size = Network.from_state(spec, state), 1e-3

    def noisy(layer: Layer, output: torch.Tensor) -> torch.Tensor:
        noise = torch.randn(output.shape, dtype=output.dtype, generator=generator)
        return output + size * noise if layer.index == 0 else output

    with torch.no_grad():
        (clean,) = network(image.expand(1500, -1, -1, -1))
        (changed,) = network(image.expand(1500, -1, -1, -1), noisy)
    found = divergence(clean, changed, logits=not new_coords) / 1500
    # Layer 0 has neither batch norm nor an activation: its output is what the weights are of.
    assert found == pytest.approx(size**2 * float(weights[0].sum()) / 2, rel=0.1)


def divergence(clean: torch.Tensor, changed: torch.Tensor, *, logits: bool) -> float:
    """Kullback-Leibler of objectness and classes; half the squared change of boxes."""
    p, q = (x.sigmoid() if logits else x for x in (clean, changed))
    each = p * (p / q).log() + (1 - p) * ((1 - p) / (1 - q)).log()
    objectness = p[:, 4:5]
    boxes = (objectness * (clean - changed)[:, :4].square()).sum() / 2
    return float(boxes + each[:, 4].sum() + (objectness * each[:, 5:]).sum())
