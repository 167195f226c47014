"""What a layer should give, against explicit least squares and numbers made by hand."""

import numpy as np
import pytest
import torch

from tests.pruning.networks import random_parameters, slim_of
from tests.pruning.recover.convolutions import CFG, images_of, network, plan_of, value_of
from tests.random_networks import random_state
from yoloprune.frontends.darknet.lower import parameters
from yoloprune.frontends.darknet.parser import parse_cfg
from yoloprune.graph.builder import GraphBuilder
from yoloprune.graph.graph import Graph
from yoloprune.graph.shapes import facts
from yoloprune.pruning.groups import analyze
from yoloprune.pruning.layers import layers_of
from yoloprune.pruning.recover import side as refit
from yoloprune.pruning.recover.network import recover
from yoloprune.pruning.recover.ways import Ahead, Way, ways_of

CONV = """[convolutional]
batch_normalize=1
filters=8
size={size}
pad=1
activation={activation}
"""
RESIDUAL = (
    "[net]\nheight=12\nwidth=12\nchannels=3\n"
    + CONV.format(size=3, activation="leaky")
    + CONV.format(size=1, activation="linear")
    + CONV.format(size=3, activation="leaky")
    + CONV.format(size=1, activation="linear")
    + "[shortcut]\nfrom=-3\nactivation=linear\n"
    + "[convolutional]\nfilters=5\nsize=1\nactivation=linear\n"
)


def all_ways(graph: Graph) -> dict[str, Way]:
    layers = layers_of(analyze(graph)).values()
    return ways_of(graph, facts(graph).shapes, layers)


def test_ways_end_where_another_node_reads_and_know_sums() -> None:
    found = all_ways(network(parse_cfg(RESIDUAL)).graph)
    ends = {name: (way.end, way.other, way.bends) for name, way in found.items()}
    assert ends == {
        "layer_0.conv": ("layer_0.leaky", None, True),
        # The next layer and the sum read it.
        "layer_1.conv": ("layer_1.norm", None, False),
        "layer_2.conv": ("layer_2.leaky", None, True),
        "layer_3.conv": ("layer_3.norm", "layer_1.norm", False),
        "layer_5.conv": (found["layer_5.conv"].output, None, False),
    }


def test_a_way_goes_through_an_activation_of_two_nodes_and_not_past_an_output() -> None:
    graph = GraphBuilder(opset=17)
    x = graph.input("images", ("batch", 3, 6, 6))
    first = graph.node("first", "Conv", x, graph.parameter("first.kernel", (4, 3, 1, 1)))
    gate = graph.node("gate", "Sigmoid", first)
    x = graph.node("swish", "Mul", first, gate)
    x = graph.node("second", "Conv", x, graph.parameter("second.kernel", (4, 4, 1, 1)))
    # Not the same at all places.
    x = graph.node("placed", "Add", x, graph.constant("grid", np.zeros((1, 4, 6, 6), np.float32)))
    third = graph.node("third", "Conv", x, graph.parameter("third.kernel", (4, 4, 1, 1)))
    x = graph.node("relu", "Relu", third)
    found = all_ways(graph.build({x: ("batch", 4, 6, 6), third: ("batch", 4, 6, 6)}))
    assert {name: way.end for name, way in found.items()} == {
        "first": "swish",
        "second": "second",
        "third": "third",
    }


@pytest.mark.parametrize(
    ("given", "error", "target"),
    [
        # What the activation cuts off stays; the rest is asked for what is wanted, and the error.
        ((-2.0, 1.0), (0.0, 0.0), (-2.0, 3.0)),
        ((-2.0, 1.0), (5.0, 0.5), (-2.0, 3.5)),
        # Nothing comes through: no slope tells where to go.
        ((-2.0, -1.0), (0.0, 0.0), (-4.0, 3.0)),
    ],
)
def test_targets_by_hand(
    given: tuple[float, float], error: tuple[float, float], target: tuple[float, float]
) -> None:
    graph = GraphBuilder(opset=17)
    x = graph.input("images", ("batch", 3, 6, 6))
    x = graph.node("conv", "Conv", x, graph.parameter("kernel", (2, 3, 1, 1)))
    built = graph.build({graph.node("relu", "Relu", x): ("batch", 2, 6, 6)})
    ahead = Ahead(
        way=all_ways(built)["conv"],
        graph=built,
        array={}.__getitem__,
        layer=layers_of(analyze(built))["conv"],
        kept=torch.tensor([1]),
    )
    wanted, start, off = (
        torch.tensor(values, dtype=torch.float64).reshape(1, 2, 1)
        for values in ((-4.0, 3.0), given, error)
    )
    assert ahead.target(wanted, off, start).flatten().tolist() == list(target)


def test_what_no_number_can_hold_is_left_as_it_is_wanted() -> None:
    graph = GraphBuilder(opset=17)
    x = graph.input("images", ("batch", 3, 6, 6))
    x = graph.node("conv", "Conv", x, graph.parameter("kernel", (1, 3, 1, 1)))
    built = graph.build({graph.node("size", "Exp", x): ("batch", 1, 6, 6)})
    ahead = Ahead(
        way=all_ways(built)["conv"],
        graph=built,
        array={}.__getitem__,
        layer=layers_of(analyze(built))["conv"],
        kept=torch.tensor([0]),
    )
    wanted = torch.tensor([[[1.0], [2.0]]], dtype=torch.float64)
    assert torch.equal(ahead.target(wanted, torch.zeros_like(wanted), wanted + 1000), wanted)


def test_a_residual_sum_is_as_right_as_its_last_layer_can_make_it() -> None:
    spec = parse_cfg(RESIDUAL)
    dependencies, state = network(spec), parameters(random_state(spec))
    images, plan = images_of(dependencies, 4), plan_of(dependencies, {0: (0, 2, 5), 2: (1, 3, 4)})
    slim = slim_of(dependencies, state, plan)
    found = recover(dependencies, state, plan, slim, images, ridge=1e-12)
    dense, own = (dependencies.graph, state), (slim[0], found.parameters)
    missing = value_of(dense, "layer_4.sum_0", images) - value_of(own, "layer_1.norm", images)
    rows = missing.movedim(1, -1).flatten(0, -2).numpy()
    inputs = value_of(own, "layer_2.leaky", images).movedim(1, -1).flatten(0, -2)
    design = np.hstack([inputs.numpy(), np.ones((len(rows), 1))])
    least = rows - design @ np.linalg.lstsq(design, rows, rcond=None)[0]
    sums = (value_of(each, "layer_4.sum_0", images) for each in (dense, own))
    error = np.subtract(*(each.numpy() for each in sums))
    streams = [value_of(each, "layer_1.norm", images) for each in (dense, own)]
    assert (streams[0] - streams[1]).abs().max() > 0.1
    assert np.square(error).sum() == pytest.approx(np.square(least).sum(), rel=1e-6)


def test_a_kernel_is_fitted_through_its_activation(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = parse_cfg(CFG.format(groups=1, activation="relu"))
    dependencies, state = network(spec), parameters(random_state(spec))
    images, plan = images_of(dependencies, 16), plan_of(dependencies, {0: (0, 2, 5)})
    slim = slim_of(dependencies, state, plan)

    def error(steps: int) -> float:
        monkeypatch.setattr(refit, "STEPS", steps)
        own = recover(dependencies, state, plan, slim, images).parameters
        found = (
            value_of(each, "layer_1.relu", images)
            for each in ((dependencies.graph, state), (slim[0], own))
        )
        return float(np.square(np.subtract(*(value.numpy() for value in found))).sum())

    assert error(1) < 0.97 * error(0)


def test_quantized_ways_keep_the_first_fit() -> None:
    graph = GraphBuilder(opset=17)
    x = graph.input("images", ("batch", 3, 6, 6))
    x = graph.node("conv", "Conv", x, graph.parameter("kernel", (4, 3, 1, 1)))
    x = graph.node("round", "Round", x)
    built = graph.build(
        {graph.node("last", "Conv", x, graph.parameter("own", (2, 4, 1, 1))): ("batch", 2, 6, 6)}
    )
    dependencies = analyze(built)
    state, images = random_parameters(built), images_of(dependencies, 4)
    plan = plan_of(dependencies, {0: (0, 1, 3)})
    found = recover(dependencies, state, plan, slim_of(dependencies, state, plan), images)
    assert torch.allclose(found.parameters["kernel"], state["kernel"][[0, 1, 3]])
