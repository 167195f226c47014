"""A verification that could not fail would prove nothing."""

from dataclasses import replace

import pytest
import torch

from tests.pruning.plans import random_plan
from tests.random_networks import random_state
from yoloprune.darknet.parser import parse_cfg
from yoloprune.darknet.zoo import yolov3_tiny
from yoloprune.errors import VerificationError, WeightsError
from yoloprune.pruning.groups import analyse
from yoloprune.pruning.plan import Budget
from yoloprune.pruning.pruner import prove, prune
from yoloprune.pruning.surgery import surgery
from yoloprune.pruning.verification import compare, random_images, require

SPEC = yolov3_tiny(classes=1, width=0.125, size=(64, 64))
GRAPH = analyse(SPEC)
PLAN = random_plan(GRAPH, 2)
STATE = random_state(SPEC, 2, torch.float32)


def test_an_exact_slim_network_is_proven() -> None:
    proof = prove(SPEC, STATE, PLAN, *surgery(SPEC, STATE, PLAN), random_images(SPEC))
    assert proof.exactness.passed
    assert proof.exactness.dtype == "float64"
    assert proof.change.relative_error > 0.01


@pytest.mark.parametrize("size", [1e30, 3e38])
def test_a_dense_network_that_overflows_is_named(size: float) -> None:
    # 1e30 twice is within float64, but programs run the network in float32.
    state = dict(STATE)
    for index in (0, 2):
        ones = torch.ones_like(state[index].kernel)
        state[index] = replace(state[index], kernel=ones * size, variance=torch.zeros(len(ones)))
    first = 0 if size > 1e35 else 2
    words = rf"not finite in float32, from layer {first} \[convolutional\] on"
    with pytest.raises(WeightsError, match=words):
        prune(SPEC, state, budget=Budget(keep_macs=0.6))
    with pytest.raises(WeightsError, match=words):
        prove(SPEC, state, PLAN, *surgery(SPEC, state, PLAN), random_images(SPEC))


def test_what_only_swells_inside_is_no_overflow() -> None:
    spec = parse_cfg(
        "[net]\nchannels=3\nheight=8\nwidth=8\n"
        "[convolutional]\nfilters=8\nactivation=linear\n"
        "[convolutional]\nfilters=8\nactivation=logistic\n"
        "[convolutional]\nfilters=4\nactivation=linear\n"
    )
    state = random_state(spec, dtype=torch.float32)
    for index in (0, 1):
        state[index] = replace(state[index], kernel=torch.full_like(state[index].kernel, 3e38))
    assert prune(spec, state, budget=Budget(keep_macs=0.8)).proof.exactness.passed


def test_one_wrong_weight_is_found() -> None:
    slim_spec, slim_state = surgery(SPEC, STATE, PLAN)
    kernel = slim_state[0].kernel.clone()
    kernel[0, 0, 0, 0] += 1e-5
    slim_state[0] = replace(slim_state[0], kernel=kernel)
    with pytest.raises(VerificationError, match="slim against masked dense"):
        prove(SPEC, STATE, PLAN, slim_spec, slim_state, random_images(SPEC))


def test_swapped_channels_are_found() -> None:
    slim_spec, slim_state = surgery(SPEC, STATE, PLAN)
    kernel = slim_state[2].kernel.flip(1)
    slim_state[2] = replace(slim_state[2], kernel=kernel)
    with pytest.raises(VerificationError):
        prove(SPEC, STATE, PLAN, slim_spec, slim_state, random_images(SPEC))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_not_finite_never_passes(value: float) -> None:
    good, bad = torch.zeros(1, 2, 2, 2), torch.full((1, 2, 2, 2), value)
    for pair in ((bad, good), (good, bad), (bad, bad)):
        verification = compare((pair[0],), (pair[1],))
        assert not verification.passed
        with pytest.raises(VerificationError):
            require(verification, "test")
