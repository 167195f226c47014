"""The masked network by hand; that what is cut computes the same is `cut`'s law."""

import pytest
import torch

from tests.pruning.networks import every_contraction, outputs_of, random_images, random_parameters
from tests.pruning.plans import random_plan
from yoloprune.errors import PlanError
from yoloprune.graph.builder import GraphBuilder
from yoloprune.pruning.groups import analyze
from yoloprune.pruning.masked import masked, silenced


def test_columns_of_removed_channels_are_0_and_nothing_else_changes() -> None:
    dependencies = analyze(every_contraction())
    parameters = random_parameters(dependencies.graph)
    plan = random_plan(dependencies, 0)
    graph, found = masked(dependencies, parameters, plan)
    kept = dependencies.kept(plan.keep)
    assert graph.nodes == dependencies.graph.nodes
    columns = dict.fromkeys(parameters, 0)
    for contraction in dependencies.labels.contractions:
        columns[contraction.name] = int((~kept[contraction.columns]).sum())
    for name, tensor in parameters.items():
        changed = int((found[name] != tensor).sum())
        assert (changed > 0) == (columns[name] > 0)
        assert (found[name][found[name] != tensor] == 0).all()
        if not changed:
            assert found[name] is tensor


def test_a_channel_that_is_not_heard_may_say_anything() -> None:
    graph = GraphBuilder(opset=17, dtype="float64")
    x = graph.input("images", (1, 2, 3, 3))
    x = graph.node("conv", "Conv", x, graph.parameter("kernel", (3, 2, 1, 1)))
    first = graph.node("first", "Conv", x, graph.parameter("last", (2, 3, 1, 1)))
    second = graph.node("second", "Conv", x, "last")
    built = graph.build({first: (1, 2, 3, 3), second: (1, 2, 3, 3)})
    dependencies = analyze(built)
    kept = dependencies.kept({dependencies.prunable[0].id: (0, 2)})
    parameters, images = random_parameters(built), random_images(built)
    network = silenced(dependencies, parameters, kept)
    quiet = outputs_of(network, images)
    loud = dict(network[1])
    loud["kernel"] = loud["kernel"].clone()
    loud["kernel"][1] = 1e6
    for value, expected in zip(outputs_of((network[0], loud), images), quiet, strict=True):
        assert torch.equal(value, expected)
    # What is left is what the two kernels make of the other two channels.
    whole = outputs_of((built, parameters | {"last": parameters["last"] * 1}), images)
    assert not torch.equal(whole[0], quiet[0])


def test_a_plan_of_another_network_is_refused() -> None:
    dependencies = analyze(every_contraction())
    other = analyze(every_contraction(tapped=True))
    with pytest.raises(PlanError, match="another network"):
        masked(other, {}, random_plan(dependencies, 0))
