"""Law 2 and its neighbors: what surgery leaves computes what the masked network computed."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.pruning.darknet import arrays, dependencies, slim_spec
from tests.pruning.plans import random_plan
from tests.random_networks import network_specs
from yoloprune.errors import PlanError
from yoloprune.frontends.darknet.edits import applied
from yoloprune.frontends.darknet.lower import lower
from yoloprune.frontends.darknet.parser import parse_cfg
from yoloprune.frontends.darknet.spec import NetworkSpec
from yoloprune.frontends.darknet.zoo import yolov3_tiny
from yoloprune.graph.edits import edit
from yoloprune.graph.graph import Node
from yoloprune.pruning.cut import cut
from yoloprune.pruning.groups import DependencyGraph, analyze
from yoloprune.pruning.masked import masked
from yoloprune.pruning.plan import PruningPlan, compose, kept_filters
from yoloprune.pruning.prove import computed, exactness, outputs
from yoloprune.pruning.verification import compare, random_images

Images = dict[str, Tensor]

RANDOM_GRAPHS = 300


def masked_by_transform(
    graph: DependencyGraph, tensors: dict[str, Tensor], plan: PruningPlan, images: Images
) -> tuple[Tensor, ...]:
    """Outputs when every removed channel is multiplied by zero wherever it appears."""
    kept = graph.kept(plan.keep)
    ids = {node.name: graph.labels.values[node.outputs[0]] for node in graph.graph.nodes}

    def mask(node: Node, _: object, given: Sequence[Tensor]) -> Sequence[Tensor]:
        return (given[0] * torch.from_numpy(kept[ids[node.name]]), *given[1:])

    found = dict(computed(graph.graph, tensors, images, mask))
    return tuple(found[name] for name in graph.graph.outputs)


def check_slim_equals_masked(spec: NetworkSpec, seed: int) -> float:
    """Law 2 for a random plan and state; returns the larger of the two relative errors."""
    graph = dependencies(spec)
    plan = random_plan(graph, seed)
    tensors = arrays(spec, seed, torch.float64)
    images = random_images(graph.graph, seed=seed)
    slim = edit(graph.graph, tensors, cut(graph, plan))

    found = outputs(*slim, images)
    by_output = compare(found, masked_by_transform(graph, tensors, plan, images))
    assert by_output.passed, by_output
    by_weights = compare(found, outputs(*masked(graph, tensors, plan), images))
    assert by_weights.passed, by_weights
    everywhere = exactness(graph, tensors, graph.kept(plan.keep), slim, images)
    assert everywhere.passed, everywhere
    return max(by_output.relative_error, by_weights.relative_error, everywhere.relative_error)


@settings(max_examples=RANDOM_GRAPHS)
@given(spec=network_specs(), seed=st.integers(0, 2**16))
def test_slim_equals_masked_dense_on_random_graphs(spec: NetworkSpec, seed: int) -> None:
    check_slim_equals_masked(spec, seed)


@settings(max_examples=60)
@given(spec=network_specs(), seed=st.integers(0, 2**16))
def test_the_document_that_edits_leave_is_lowered_to_the_edited_graph(
    spec: NetworkSpec, seed: int
) -> None:
    graph = dependencies(spec)
    edits = cut(graph, random_plan(graph, seed))
    slim, tensors = edit(graph.graph, arrays(spec, seed), edits)
    assert lower(applied(spec, edits)).digest() == slim.digest()
    assert {name: tuple(t.shape) for name, t in tensors.items()} == {
        name: parameter.shape for name, parameter in slim.parameters.items()
    }


def depthwise(graph: DependencyGraph) -> set[str]:
    return {found.node for found in graph.labels.contractions if found.depthwise}


@settings(max_examples=60)
@given(spec=network_specs(), seed=st.integers(0, 2**16))
def test_two_surgeries_equal_the_composed_one(spec: NetworkSpec, seed: int) -> None:
    tensors = arrays(spec, seed)
    graph = dependencies(spec)
    first = random_plan(graph, seed)
    middle, middle_tensors = edit(graph.graph, tensors, cut(graph, first))
    middle_graph = analyze(middle)
    # Left with one channel a group, a grouped convolution has become depthwise and may now lose
    # whole groups; left with one group, a depthwise one has become plain and may lose some of its
    # filters. No plan for the dense network can say either (`compose` refuses them).
    assume(depthwise(middle_graph) == depthwise(graph))
    second = random_plan(middle_graph, seed + 1)
    twice, twice_tensors = edit(middle, middle_tensors, cut(middle_graph, second))

    edits = cut(graph, compose(graph, first, middle_graph, second))
    once, once_tensors = edit(graph.graph, tensors, edits)
    assert once.digest() == twice.digest()
    assert all(torch.equal(a, twice_tensors[name]) for name, a in once_tensors.items())


@settings(max_examples=60)
@given(spec=network_specs(), seed=st.integers(0, 2**16))
def test_keeping_every_channel_is_the_identity(spec: NetworkSpec, seed: int) -> None:
    tensors = arrays(spec, seed)
    graph = dependencies(spec)
    keep = {group.id: tuple(range(group.size)) for group in graph.prunable}
    plan = replace(random_plan(graph, seed), keep=keep)
    edits = cut(graph, plan)
    same, same_tensors = edit(graph.graph, tensors, edits)
    assert same.digest() == graph.digest
    assert applied(spec, edits) == spec
    assert all(same_tensors[name] is tensor for name, tensor in tensors.items())


def test_surgery_leaves_its_inputs_alone() -> None:
    spec = yolov3_tiny(classes=1, width=0.125, size=(64, 64))
    tensors = arrays(spec)
    before = {name: tensor.clone() for name, tensor in tensors.items()}
    graph = dependencies(spec)
    edit(graph.graph, tensors, cut(graph, random_plan(graph, 0)))
    assert all(torch.equal(tensors[name], tensor) for name, tensor in before.items())


def test_slim_layers_hold_exactly_the_planned_rows() -> None:
    spec = yolov3_tiny(classes=1, width=0.125, size=(64, 64))
    tensors = arrays(spec)
    graph = dependencies(spec)
    plan = random_plan(graph, 3)
    slim, slim_tensors = edit(graph.graph, tensors, cut(graph, plan))
    for node, filters in kept_filters(graph, plan).items():
        name = node.replace(".conv", ".bias")
        assert slim.parameters[name].shape == (len(filters),)
        assert torch.equal(slim_tensors[name], tensors[name][list(filters)])


def test_a_plan_of_another_network_is_refused() -> None:
    spec, other = (yolov3_tiny(classes=n, width=0.125, size=(64, 64)) for n in (1, 2))
    plan = random_plan(dependencies(other), 0)
    with pytest.raises(PlanError, match="another network"):
        cut(dependencies(spec), plan)


def test_what_no_single_plan_can_say_is_not_composed() -> None:
    spec = parse_cfg(
        "[net]\nheight=6\nwidth=6\nchannels=3\n"
        "[convolutional]\nfilters=4\nactivation=leaky\n"
        "[convolutional]\nfilters=4\ngroups=2\nactivation=leaky\n"
        "[convolutional]\nfilters=2\nactivation=linear\n"
    )
    graph = dependencies(spec)
    first = replace(random_plan(graph, 0), keep={0: (0, 2)})
    middle_graph = dependencies(slim_spec(spec, first))
    second = replace(random_plan(middle_graph, 0), keep={0: (1,)})
    with pytest.raises(PlanError, match="parts"):
        compose(graph, first, middle_graph, second)
