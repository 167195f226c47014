"""Step by step, an error stays where it is made; shaken all the way, it goes on."""

from pathlib import Path

import pytest

from tests.frontends.onnx.models import loaded, node, two_convs
from tests.pruning.plans import random_plan
from yoloprune.graph.edits import edit
from yoloprune.pruning.cut import removal
from yoloprune.pruning.groups import analyze
from yoloprune.pruning.masked import silenced
from yoloprune.pruning.prove import _errors, _sizes
from yoloprune.pruning.shake import Shake
from yoloprune.pruning.verification import random_images


@pytest.mark.parametrize("stepwise", [False, True])
def test_what_is_off_in_one_layer(stepwise: bool, tmp_path: Path) -> None:
    network = loaded(two_convs([node("Sigmoid", ["a"], ["b"], name="gate")]), tmp_path)
    dependencies = analyze(network.graph)
    kept = dependencies.kept(random_plan(dependencies, 3).keep)
    assert 0 < kept.sum() < len(kept)
    graph, arrays = edit(network.graph, network.parameters, removal(dependencies, kept))
    inputs = random_images(network.graph)
    masked = silenced(dependencies, network.parameters, kept)
    shake = Shake(dependencies, kept, 0, _sizes(masked, inputs) if stepwise else None)
    off = arrays | {"w1": arrays["w1"].double() * (1 + 1e-6)}
    errors = _errors(dependencies, kept, masked, (graph, off), inputs, shake)
    first, *others = errors.values()
    assert len(others) == 2 and 1e-8 < first < 1e-5
    assert all((error < 1e-14) == stepwise for error in others)
