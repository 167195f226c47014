"""The proof where numbers are large: shaken networks stay within what can be computed."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import torch

from tests.frontends.onnx.models import loaded, node, slimmed, two_convs, weights
from tests.pruning.plans import random_plan
from yoloprune.graph.edits import edit
from yoloprune.pruning.cut import cut, removal
from yoloprune.pruning.groups import analyze
from yoloprune.pruning.masked import silenced
from yoloprune.pruning.prove import Exactness, _errors, exactness
from yoloprune.pruning.shake import Shake
from yoloprune.pruning.verification import TOLERANCE, random_images


def test_exponentials_of_large_numbers_are_compared(tmp_path: Path) -> None:
    """Shaken by as much again, they would be infinite, and their sums no numbers."""
    network = loaded(two_convs([node("Exp", ["a"], ["b"], name="exp")]), tmp_path)
    inputs = {name: 0 * value + 1 for name, value in random_images(network.graph).items()}
    parameters = {
        "w1": 0 * network.parameters["w1"],
        "c1": torch.linspace(400, 600, 8),
        "w2": network.parameters["w2"].double() * torch.tensor([[[[1.0]]], [[[-1.0]]]] * 2),
    }
    network = replace(network, parameters=parameters)
    dependencies = analyze(network.graph)
    plan = random_plan(dependencies, 3)
    slim = edit(network.graph, parameters, cut(dependencies, plan))
    kept = dependencies.kept(plan.keep)
    assert 0 < kept.sum() < len(kept)
    found = exactness(dependencies, parameters, kept, slim, inputs)
    assert found.passed and found.values == 3
    wrong = slim[1] | {"c1": slim[1]["c1"].flip(0)}
    found = exactness(dependencies, parameters, kept, (slim[0], wrong), inputs)
    assert not found.passed


def test_rounding_that_shaking_alone_makes_large_is_no_error(tmp_path: Path) -> None:
    """Each layer would double what it is shaken by, and the exponential the digits that are off."""
    count = 12
    names = [f"n{number}" for number in range(count)]
    kernels = {name: np.abs(weights(8, 8, 1, 1, seed=i)) for i, name in enumerate(names)}
    kernels = {name: kernel / kernel.sum(1, keepdims=True) for name, kernel in kernels.items()}
    layers = [
        node("Conv", [given, name], [f"{name}.out"], name=name)
        for given, name in zip(["a", *(f"{n}.out" for n in names)], names, strict=False)
    ]
    middle = [
        *layers,
        node("Mul", [f"{names[-1]}.out", "large"], ["m"], name="scale"),
        node("Softmax", ["m"], ["b"], name="softmax", axis=3),
    ]
    arrays = kernels | {"large": np.float32(1000)}
    network = loaded(two_convs(middle, arrays=arrays), tmp_path)
    dependencies = analyze(network.graph)
    kept = dependencies.kept(random_plan(dependencies, 3).keep)
    graph, left = edit(network.graph, network.parameters, removal(dependencies, kept))
    # On processors whose library adds up in order both give the same bits: round by hand.
    slim = graph, left | {name: left[name].double() * (1 + 2**-52) for name in names}
    inputs = random_images(network.graph)
    masked = silenced(dependencies, network.parameters, kept)
    grown = _errors(dependencies, kept, masked, slim, inputs, Shake(dependencies, kept, 0))
    assert max(grown.values()) > TOLERANCE
    found = exactness(dependencies, network.parameters, kept, slim, inputs)
    assert found.passed and found.stepwise, found
    assert found.compared.endswith("values, step by step")
    for name in ("n3", "n11"):
        wrong = slim[1] | {name: slim[1][name].flip(0)}
        assert not exactness(
            dependencies, network.parameters, kept, (slim[0], wrong), inputs
        ).passed


def test_infinite_numbers_of_both_are_equal(tmp_path: Path) -> None:
    middle = [
        node("Relu", ["a"], ["r"], name="relu"),
        node("Log", ["r"], ["l"], name="log"),
        node("Max", ["l", "least"], ["b"], name="max"),
    ]
    network = loaded(two_convs(middle, arrays={"least": torch.tensor([-9.0]).numpy()}), tmp_path)
    dependencies = analyze(network.graph)
    plan = random_plan(dependencies, 3)
    slim = edit(network.graph, network.parameters, cut(dependencies, plan))
    inputs = {name: 0 * value - 1 for name, value in random_images(network.graph).items()}
    kept = dependencies.kept(plan.keep)
    assert not kept.all()
    found = exactness(dependencies, network.parameters, kept, slim, inputs)
    assert found.passed


def undefined(folder: Path, middle: list[onnx.NodeProto]) -> Exactness:
    """The proof of a network in which half of the logarithms are no numbers."""
    zero = {"zero": np.zeros(1, np.float32)}
    _, found, dependencies = slimmed(loaded(two_convs(middle, arrays=zero), folder), seed=3)
    assert dependencies.prunable
    return found


def test_what_is_no_number_in_both_is_equal_inside(tmp_path: Path) -> None:
    middle = [
        node("Log", ["a"], ["log"]),
        node("IsNaN", ["log"], ["odd"]),
        node("Where", ["odd", "zero", "log"], ["b"]),
    ]
    assert undefined(tmp_path, middle).passed


def test_what_is_no_number_at_the_end_proves_nothing(tmp_path: Path) -> None:
    found = undefined(tmp_path, [node("Log", ["a"], ["b"])])
    assert not found.passed and found.worst == "y"


def test_places_that_are_worked_out_in_real_numbers_stay_places(tmp_path: Path) -> None:
    """As the best of classes by place: an index, over their count, rounded down."""
    middle = [
        node("Relu", ["a"], ["b"], name="relu"),
        node("ReduceMax", ["a"], ["best"], name="best", axes=[1], keepdims=1),
        node("Flatten", ["best"], ["flat"], name="flat"),
        node("TopK", ["flat", "three"], ["", "index"], name="top"),
        node("Cast", ["index"], ["real"], name="real", to=onnx.TensorProto.FLOAT),
        node("Div", ["real", "two"], ["part"], name="part"),
        node("Floor", ["part"], ["whole"], name="whole"),
        node("Cast", ["whole"], ["place"], name="place", to=onnx.TensorProto.INT64),
        node("GatherElements", ["flat", "place"], ["found"], name="found", axis=1),
    ]
    arrays = {"three": np.array([3]), "two": np.float32(2)}
    network = loaded(two_convs(middle, arrays=arrays), tmp_path)
    dependencies = analyze(network.graph)
    kept = dependencies.kept(random_plan(dependencies, 3).keep)
    slim = edit(network.graph, network.parameters, removal(dependencies, kept))
    found = exactness(dependencies, network.parameters, kept, slim, random_images(network.graph))
    assert found.passed, found


def test_what_rounding_decides_is_decided_alike(tmp_path: Path) -> None:
    """Of nearly equal numbers either network may find another one the largest."""
    middle = [
        node("Relu", ["a"], ["b"], name="relu"),
        node("TopK", ["a", "three"], ["best", "index"], name="top"),
        node("Cast", ["index"], ["real"], name="real", to=onnx.TensorProto.FLOAT),
    ]
    network = loaded(two_convs(middle, arrays={"three": np.array([3])}), tmp_path)
    dependencies = analyze(network.graph)
    kept = dependencies.kept(random_plan(dependencies, 3).keep)
    top, real = (own for own in network.graph.nodes if own.name in ("top", "real"))
    shake = Shake(dependencies, kept, 0)
    values = torch.rand(1, 8, 16, 3, dtype=torch.float64)
    places = torch.arange(values.numel()).reshape(values.shape)
    shake.dense(top, (values,), (values, places))
    left = torch.zeros_like(places)
    best, index = shake.slim(top, (values,), (values, left))
    assert best is values
    assert torch.equal(index, places)
    # What was whole before is worked out by each for itself.
    shake.dense(real, (places,), (places,))
    assert shake.slim(real, (left,), (left,))[0] is left
