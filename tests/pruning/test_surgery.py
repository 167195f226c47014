"""Law 2 and its neighbours: what surgery leaves computes what the masked network computed."""

from dataclasses import replace

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.pruning.plans import random_plan
from tests.random_networks import network_specs, random_state
from yoloprune.darknet.parser import parse_cfg
from yoloprune.darknet.spec import Head, Layer, NetworkSpec
from yoloprune.darknet.zoo import yolov3_tiny
from yoloprune.errors import PlanError
from yoloprune.model.network import Network
from yoloprune.pruning.channels import is_depthwise
from yoloprune.pruning.groups import DependencyGraph, analyse
from yoloprune.pruning.plan import PruningPlan, compose, kept_filters
from yoloprune.pruning.surgery import surgery
from yoloprune.pruning.verification import compare, head_maps, masked_state, random_images

RANDOM_GRAPHS = 300


def masked_by_transform(
    spec: NetworkSpec, state: object, graph: DependencyGraph, plan: PruningPlan, images: Tensor
) -> tuple[Tensor, ...]:
    """Head maps when every removed channel is multiplied by zero wherever it appears."""
    kept = torch.from_numpy(graph.kept(plan.keep))

    def mask(layer: Layer, output: Tensor) -> Tensor:
        if isinstance(layer, Head):
            return output
        return output * kept[torch.from_numpy(graph.channels.outputs[layer.index])][:, None, None]

    with torch.inference_mode():
        return Network.from_state(spec, state)(images, mask)


def check_slim_equals_masked(spec: NetworkSpec, seed: int) -> float:
    """Law 2 for a random plan and state; returns the larger of the two relative errors."""
    graph = analyse(spec)
    plan = random_plan(graph, seed)
    state = random_state(spec, seed, torch.float64)
    images = random_images(spec, seed=seed)
    slim = head_maps(*surgery(spec, state, plan), images)

    by_output = compare(slim, masked_by_transform(spec, state, graph, plan, images))
    assert by_output.passed, by_output
    by_weights = compare(slim, head_maps(spec, masked_state(spec, state, plan), images))
    assert by_weights.passed, by_weights
    return max(by_output.relative_error, by_weights.relative_error)


@settings(max_examples=RANDOM_GRAPHS)
@given(spec=network_specs(), seed=st.integers(0, 2**16))
def test_slim_equals_masked_dense_on_random_graphs(spec: NetworkSpec, seed: int) -> None:
    check_slim_equals_masked(spec, seed)


def depthwise_layers(graph: DependencyGraph) -> set[int]:
    inputs = graph.channels.inputs
    return {c.index for c in graph.spec.convs if is_depthwise(c, len(inputs[c.index]))}


@settings(max_examples=60)
@given(spec=network_specs(), seed=st.integers(0, 2**16))
def test_two_surgeries_equal_the_composed_one(spec: NetworkSpec, seed: int) -> None:
    state = random_state(spec, seed, torch.float32)
    graph = analyse(spec)
    first = random_plan(graph, seed)
    middle_spec, middle_state = surgery(spec, state, first)
    middle_graph = analyse(middle_spec)
    # Left with one channel a group, a grouped convolution has become depthwise and may now lose
    # whole groups; left with one group, a depthwise one has become plain and may lose some of its
    # filters. No plan for the dense network can say either (`compose` refuses them).
    assume(depthwise_layers(middle_graph) == depthwise_layers(graph))
    second = random_plan(middle_graph, seed + 1)
    twice_spec, twice_state = surgery(middle_spec, middle_state, second)

    once_spec, once_state = surgery(spec, state, compose(graph, first, middle_graph, second))
    assert once_spec == twice_spec
    for index, parameters in once_state.items():
        for (name, a), (_, b) in zip(parameters.items(), twice_state[index].items(), strict=True):
            assert torch.equal(a, b), (index, name)


@settings(max_examples=60)
@given(spec=network_specs(), seed=st.integers(0, 2**16))
def test_keeping_every_channel_is_the_identity(spec: NetworkSpec, seed: int) -> None:
    state = random_state(spec, seed, torch.float32)
    graph = analyse(spec)
    keep = {group.id: tuple(range(group.size)) for group in graph.prunable}
    plan = replace(random_plan(graph, seed), keep=keep)
    same_spec, same_state = surgery(spec, state, plan)
    assert same_spec == spec
    assert all(
        torch.equal(a, b)
        for index, parameters in state.items()
        for (_, a), (_, b) in zip(parameters.items(), same_state[index].items(), strict=True)
    )


def test_surgery_leaves_its_inputs_alone() -> None:
    spec = yolov3_tiny(classes=1, width=0.125, size=(64, 64))
    state = random_state(spec, 0, torch.float32)
    before = {i: p.kernel.clone() for i, p in state.items()}
    plan = random_plan(analyse(spec), 0)
    surgery(spec, state, plan)
    assert all(torch.equal(state[i].kernel, kernel) for i, kernel in before.items())


def test_slim_layers_hold_exactly_the_planned_rows() -> None:
    spec = yolov3_tiny(classes=1, width=0.125, size=(64, 64))
    state = random_state(spec, 0, torch.float32)
    graph = analyse(spec)
    plan = random_plan(graph, 3)
    slim_spec, slim = surgery(spec, state, plan)
    for layer, filters in kept_filters(graph, plan).items():
        assert slim_spec.layers[layer].filters == len(filters)
        assert torch.equal(slim[layer].bias, state[layer].bias[list(filters)])


def test_a_plan_of_another_network_is_refused() -> None:
    spec, other = (yolov3_tiny(classes=n, width=0.125, size=(64, 64)) for n in (1, 2))
    plan = random_plan(analyse(other), 0)
    with pytest.raises(PlanError, match="another network"):
        surgery(spec, random_state(spec, 0, torch.float32), plan)


def test_what_no_single_plan_can_say_is_not_composed() -> None:
    spec = parse_cfg(
        "[net]\nheight=6\nwidth=6\nchannels=3\n"
        "[convolutional]\nfilters=4\nactivation=leaky\n"
        "[convolutional]\nfilters=4\ngroups=2\nactivation=leaky\n"
        "[convolutional]\nfilters=2\nactivation=linear\n"
    )
    graph = analyse(spec)
    first = replace(random_plan(graph, 0), keep={0: (0, 2)})
    middle_graph = analyse(surgery(spec, random_state(spec), first)[0])
    second = replace(random_plan(middle_graph, 0), keep={0: (1,)})
    with pytest.raises(PlanError, match="parts"):
        compose(graph, first, middle_graph, second)
