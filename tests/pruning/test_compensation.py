"""Compensation is exact where the module says that it is."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.pruning.networks import (
    every_contraction,
    outputs_of,
    random_images,
    random_parameters,
    relative_error,
    slim_of,
)
from tests.pruning.plans import random_plan, with_carriers, with_dead_channels
from tests.random_networks import BLOCKS, network_specs, random_state
from yoloprune.frontends.darknet.lower import lower, parameters
from yoloprune.frontends.darknet.options import ACTIVATIONS
from yoloprune.frontends.darknet.parser import parse_cfg
from yoloprune.frontends.darknet.spec import NetworkSpec
from yoloprune.frontends.darknet.zoo import yolov3
from yoloprune.pruning.choices import Compensation
from yoloprune.pruning.compensation import compensate
from yoloprune.pruning.groups import analyze
from yoloprune.pruning.prove import TOLERANCE

# [reorg] interleaves the constants of neighboring channels in space: not a constant any more.
STEADY_BLOCKS = tuple(name for name in BLOCKS if name != "reorg")
# stair(1) is 0: a carrier behind it carries nothing.
CARRYING = tuple(sorted(ACTIVATIONS - {"stair"}))


@settings(max_examples=100)
@given(spec=network_specs(blocks=STEADY_BLOCKS, activations=CARRYING), seed=st.integers(0, 2**16))
def test_a_carrier_keeps_the_network_exactly(spec: NetworkSpec, seed: int) -> None:
    graph = analyze(lower(spec))
    plan = with_carriers(graph, random_plan(graph, seed))
    state = with_dead_channels(graph, parameters(random_state(spec, seed, torch.float64)), plan)
    images = random_images(graph.graph, seed=seed)
    slim = outputs_of(slim_of(graph, compensate(graph, state, plan), plan), images)
    # Sums of constants over groups and layers: a little above the rounding of one convolution.
    assert relative_error(slim, outputs_of((graph.graph, state), images)) <= 1e-10


def errors_on_yolov3() -> dict[Compensation, float]:
    spec = yolov3(classes=1, width=0.0625, size=(64, 64))
    graph = analyze(lower(spec))
    plan = with_carriers(graph, random_plan(graph, 1))
    state = with_dead_channels(graph, parameters(random_state(spec, 1, torch.float64)), plan)
    images = random_images(graph.graph)
    dense = outputs_of((graph.graph, state), images)
    errors = {}
    for method in Compensation:
        chosen = replace(plan, compensation=method)
        slim = outputs_of(slim_of(graph, compensate(graph, state, chosen), chosen), images)
        errors[method] = relative_error(slim, dense)
    return errors


def test_on_yolov3_a_carrier_is_exact_fold_errs_at_borders_and_none_errs_everywhere() -> None:
    errors = errors_on_yolov3()
    assert errors[Compensation.CARRIER] < 1e-10
    assert 1e-4 < errors[Compensation.FOLD] < errors[Compensation.NONE]
    assert errors[Compensation.NONE] > 0.1


def test_fold_is_exact_without_zero_padding() -> None:
    spec = parse_cfg(
        "[net]\nheight=12\nwidth=12\nchannels=3\n"
        "[convolutional]\nbatch_normalize=1\nfilters=8\nsize=3\npad=0\nactivation=leaky\n"
        "[convolutional]\nbatch_normalize=1\nfilters=8\nsize=3\npad=0\nactivation=mish\n"
        "[convolutional]\nfilters=4\nsize=1\nactivation=linear\n"
    )
    graph = analyze(lower(spec))
    plan = replace(random_plan(graph, 5), compensation=Compensation.FOLD)
    state = with_dead_channels(graph, parameters(random_state(spec, 5, torch.float64)), plan)
    images = random_images(graph.graph)
    slim = outputs_of(slim_of(graph, compensate(graph, state, plan), plan), images)
    assert relative_error(slim, outputs_of((graph.graph, state), images)) <= TOLERANCE


def test_a_carrier_is_exact_through_every_contraction() -> None:
    graph = analyze(every_contraction())
    images = random_images(graph.graph)
    dropped = []
    for seed in range(5):
        plan = with_carriers(graph, random_plan(graph, seed))
        state = with_dead_channels(graph, random_parameters(graph.graph), plan)
        dense = outputs_of((graph.graph, state), images)
        slim = outputs_of(slim_of(graph, compensate(graph, state, plan), plan), images)
        assert relative_error(slim, dense) < 1e-10
        dropped.append(relative_error(outputs_of(slim_of(graph, state, plan), images), dense))
    # Some constants are negative, and stop at a ReLU.
    assert max(dropped) > 1e-3


@pytest.mark.parametrize("method", [Compensation.FOLD, Compensation.CARRIER])
def test_compensation_leaves_its_input_alone(method: Compensation) -> None:
    spec = yolov3(classes=1, width=0.0625, size=(64, 64))
    graph = analyze(lower(spec))
    plan = replace(with_carriers(graph, random_plan(graph, 1)), compensation=method)
    state = parameters(random_state(spec, 1, torch.float32))
    before = {name: tensor.clone() for name, tensor in state.items()}
    ready = compensate(graph, state, plan)
    assert any(not torch.equal(ready[name], state[name]) for name in state if "kernel" in name)
    for name, tensor in before.items():
        assert torch.equal(state[name], tensor) and ready[name].dtype == tensor.dtype
