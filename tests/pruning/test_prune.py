"""A proof that could not fail would prove nothing."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from tests.pruning.darknet import arrays, dependencies
from tests.pruning.plans import random_plan
from yoloprune.errors import VerificationError, WeightsError
from yoloprune.frontends.darknet.parser import parse_cfg
from yoloprune.frontends.darknet.zoo import yolov3_tiny
from yoloprune.graph.edits import edit
from yoloprune.graph.graph import Graph
from yoloprune.pruning.budget import Budget
from yoloprune.pruning.cut import cut
from yoloprune.pruning.prune import prove, prune

SPEC = yolov3_tiny(classes=1, width=0.125, size=(64, 64))
DEPENDENCIES = dependencies(SPEC)
GRAPH = DEPENDENCIES.graph
PLAN = random_plan(DEPENDENCIES, 2)
ARRAYS = arrays(SPEC, 2)
BUDGET = Budget(limits={"macs": 0.6})


def slim(tensors: dict[str, Tensor]) -> tuple[Graph, dict[str, Tensor]]:
    return edit(GRAPH, tensors, cut(DEPENDENCIES, PLAN))


def test_an_exact_slim_network_is_proven() -> None:
    proof = prove(DEPENDENCIES, ARRAYS, PLAN, slim(ARRAYS))
    assert proof.exactness.passed
    assert proof.exactness.values == len(GRAPH.nodes)
    assert proof.change.dtype == "float32"
    assert proof.change.relative_error > 0.01


def test_pruning_proves_what_it_gives() -> None:
    pruned = prune(GRAPH, ARRAYS, budget=BUDGET)
    assert pruned.proof == prove(
        pruned.dependencies, ARRAYS, pruned.plan, (pruned.graph, pruned.parameters)
    )


@pytest.mark.parametrize("size", [1e30, 3e38])
def test_a_dense_network_that_overflows_is_named(size: float) -> None:
    # 1e30 twice is within float64, but programs run the network in float32.
    tensors = dict(ARRAYS)
    for layer in ("layer_0", "layer_2"):
        tensors[f"{layer}.kernel"] = torch.full_like(tensors[f"{layer}.kernel"], size)
        tensors[f"{layer}.variance"] = torch.zeros_like(tensors[f"{layer}.variance"])
    words = rf"not finite in float32, from {'layer_0' if size > 1e35 else 'layer_2'}\.\w+ on"
    with pytest.raises(WeightsError, match=words):
        prune(GRAPH, tensors, budget=BUDGET)
    with pytest.raises(WeightsError, match=words):
        prove(DEPENDENCIES, tensors, PLAN, slim(tensors))


def test_what_only_swells_inside_is_no_overflow() -> None:
    spec = parse_cfg(
        "[net]\nchannels=3\nheight=8\nwidth=8\n"
        "[convolutional]\nfilters=8\nactivation=linear\n"
        "[convolutional]\nfilters=8\nactivation=logistic\n"
        "[convolutional]\nfilters=4\nactivation=linear\n"
    )
    tensors = arrays(spec)
    for name in ("layer_0.kernel", "layer_1.kernel"):
        tensors[name] = torch.full_like(tensors[name], 3e38)
    graph = dependencies(spec).graph
    assert prune(graph, tensors, budget=Budget(limits={"macs": 0.8})).proof.exactness.passed


def test_one_wrong_weight_is_found() -> None:
    graph, tensors = slim(ARRAYS)
    kernel = tensors["layer_0.kernel"].clone()
    kernel[0, 0, 0, 0] += 1e-5
    with pytest.raises(VerificationError, match=r"slim against masked dense: .* at layer_"):
        prove(DEPENDENCIES, ARRAYS, PLAN, (graph, tensors | {"layer_0.kernel": kernel}))


def test_swapped_channels_are_found() -> None:
    graph, tensors = slim(ARRAYS)
    kernel = tensors["layer_2.kernel"].flip(1)
    with pytest.raises(VerificationError):
        prove(DEPENDENCIES, ARRAYS, PLAN, (graph, tensors | {"layer_2.kernel": kernel}))


def test_a_wrong_channel_is_found_where_images_leave_it_silent() -> None:
    """Filters 0 and 1 differ in their kernels, and rectify to nothing on every image."""
    spec = parse_cfg(
        "[net]\nchannels=3\nheight=8\nwidth=8\n"
        "[convolutional]\nfilters=4\nactivation=relu\n"
        "[convolutional]\nfilters=2\nactivation=linear\n"
    )
    found = dependencies(spec)
    tensors = arrays(spec)
    tensors["layer_0.bias"] = torch.full((4,), -100.0)
    plan = random_plan(found, 0)
    plan = replace(plan, keep={0: (0, 2)})
    graph, left = edit(found.graph, tensors, cut(found, plan))
    other = {"layer_0.kernel": tensors["layer_0.kernel"][[1, 2]]}
    with pytest.raises(VerificationError):
        prove(found, tensors, plan, (graph, left | other))
    columns = {"layer_1.kernel": tensors["layer_1.kernel"][:, [1, 2]]}
    with pytest.raises(VerificationError, match="at layer_1"):
        prove(found, tensors, plan, (graph, left | columns))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_one_head_that_is_not_finite_is_found_though_others_follow(value: float) -> None:
    graph, tensors = slim(ARRAYS)
    first, *others = graph.outputs
    assert others
    names = [node.name for node in graph.nodes]
    assert names.index(first) < names.index(others[-1])
    layer = next(node for node in graph.nodes if node.name == first).inputs[0].split(".")[0]
    bias = torch.full_like(tensors[f"{layer}.bias"], value)
    with pytest.raises(VerificationError, match="slim against masked dense"):
        prove(DEPENDENCIES, ARRAYS, PLAN, (graph, tensors | {f"{layer}.bias": bias}))
