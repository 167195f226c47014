"""Compensation is exact where the module says that it is."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.pruning.plans import random_plan, with_carriers, with_dead_channels
from tests.random_networks import BLOCKS, network_specs, random_state
from yoloprune.darknet.options import ACTIVATIONS
from yoloprune.darknet.parser import parse_cfg
from yoloprune.darknet.spec import NetworkSpec
from yoloprune.darknet.zoo import yolov3
from yoloprune.pruning.compensation import compensate
from yoloprune.pruning.groups import analyse
from yoloprune.pruning.plan import Compensation
from yoloprune.pruning.surgery import surgery
from yoloprune.pruning.verification import compare, head_maps, random_images

# [reorg] interleaves the constants of neighbouring channels in space: not a constant any more.
STEADY_BLOCKS = tuple(name for name in BLOCKS if name != "reorg")
# stair(1) is 0: a carrier behind it carries nothing.
CARRYING = tuple(sorted(ACTIVATIONS - {"stair"}))


@settings(max_examples=100)
@given(spec=network_specs(blocks=STEADY_BLOCKS, activations=CARRYING), seed=st.integers(0, 2**16))
def test_a_carrier_keeps_the_network_exactly(spec: NetworkSpec, seed: int) -> None:
    graph = analyse(spec)
    plan = with_carriers(graph, random_plan(graph, seed))
    state = with_dead_channels(graph, random_state(spec, seed, torch.float64), plan)
    images = random_images(spec, seed=seed)
    slim = head_maps(*surgery(spec, compensate(spec, state, plan), plan), images)
    # Sums of constants over groups and layers: a little above the rounding of one convolution.
    assert compare(slim, head_maps(spec, state, images), tolerance=1e-10).passed


def errors_on_yolov3() -> dict[Compensation, float]:
    spec = yolov3(classes=1, width=0.0625, size=(64, 64))
    graph = analyse(spec)
    plan = with_carriers(graph, random_plan(graph, 1))
    state = with_dead_channels(graph, random_state(spec, 1, torch.float64), plan)
    images = random_images(spec)
    dense = head_maps(spec, state, images)
    errors = {}
    for method in Compensation:
        chosen = replace(plan, compensation=method)
        slim = head_maps(*surgery(spec, compensate(spec, state, chosen), chosen), images)
        errors[method] = compare(slim, dense).relative_error
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
    graph = analyse(spec)
    plan = replace(random_plan(graph, 5), compensation=Compensation.FOLD)
    state = with_dead_channels(graph, random_state(spec, 5, torch.float64), plan)
    images = random_images(spec)
    slim = head_maps(*surgery(spec, compensate(spec, state, plan), plan), images)
    assert compare(slim, head_maps(spec, state, images)).passed


@pytest.mark.parametrize("method", [Compensation.FOLD, Compensation.CARRIER])
def test_compensation_leaves_its_input_alone(method: Compensation) -> None:
    spec = yolov3(classes=1, width=0.0625, size=(64, 64))
    graph = analyse(spec)
    plan = replace(with_carriers(graph, random_plan(graph, 1)), compensation=method)
    state = random_state(spec, 1, torch.float32)
    before = {i: {n: t.clone() for n, t in p.items()} for i, p in state.items()}
    ready = compensate(spec, state, plan)
    assert any(not torch.equal(ready[i].kernel, state[i].kernel) for i in state)
    for index, tensors in before.items():
        for name, tensor in state[index].items():
            assert torch.equal(tensor, tensors[name])
