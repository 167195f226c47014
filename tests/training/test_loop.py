"""What a step changes beside the optimizer, on a network that is never run."""

from dataclasses import replace

import pytest
import torch

from tests.reporters import Heard
from tests.training.runs import ALONE, CONFIG, SPEC
from yoloprune.frontends.darknet.document import model
from yoloprune.frontends.darknet.initialization import training_state
from yoloprune.pruning.weights.masks import MaskSettings, apply_masks, magnitude_masks
from yoloprune.training.config import TrainingConfig
from yoloprune.training.loop import Loop
from yoloprune.training.rates import learning_rate, shrinkage
from yoloprune.training.regularize import typical_scale

MODEL = model(SPEC, training_state(SPEC), title="network")


def loop(config: TrainingConfig = CONFIG) -> Loop:
    return Loop(MODEL, config, ALONE, steps_per_epoch=10, teacher=None, inputs={})


def test_a_young_average_follows_closely_and_an_old_one_slowly() -> None:
    own = loop(replace(CONFIG, ema_decay=0.9))
    name = next(iter(own.network.graph.parameters))
    start = own.average.array(name).clone()
    with torch.no_grad():
        own.network.array(name).add_(1)
    own.update_average()
    # (1 + 0) / (10 + 0) of the old one is left.
    torch.testing.assert_close(own.average.array(name), start + 0.9)
    own.steps = 1000
    own.update_average()
    torch.testing.assert_close(own.average.array(name), start + 0.91)


def test_with_sparsity_what_is_0_is_0_in_the_average_too() -> None:
    for sparsity, expected in ((0.0, False), (0.1, True)):
        own = loop(replace(CONFIG, sparsity=sparsity))
        with torch.no_grad():
            own.scales[0].parameters[0][1] = 0
        own.update_average()
        assert bool(own.average_scales[0].parameters[0][1] == 0) is expected


def test_masked_weights_have_no_gradient() -> None:
    masks = magnitude_masks(MODEL.graph, MODEL.parameters, MaskSettings(sparsity=0.5))
    network = replace(MODEL, parameters=apply_masks(MODEL.graph, MODEL.parameters, masks))
    own = Loop(network, CONFIG, ALONE, steps_per_epoch=1, teacher=None, inputs={}, masks=masks)
    for parameter in own.network.parameters():
        parameter.grad = torch.ones_like(parameter)
    own.hold_zeros()
    for name in own.network.graph.parameters:
        gradient = own.network.array(name).grad
        if gradient is not None:
            assert torch.equal(gradient != 0, masks.kept.get(name, gradient != 0))
    assert masks.kept


def test_rates_are_those_of_the_step() -> None:
    config = replace(CONFIG, sparsity=0.01)
    own = loop(config)
    own.steps = 7
    assert own.learning_rate == learning_rate(config, 7, 10)
    assert own.shrinkage == shrinkage(config, 7, 10) > 0


@pytest.mark.parametrize("kind", ["sgd", "adamw"])
def test_kernels_alone_decay(kind: str) -> None:
    own = loop(replace(CONFIG, optimizer=kind, weight_decay=0.1))  # type: ignore[arg-type]
    kernels, others = own.optimizer.param_groups
    assert {p.ndim for p in kernels["params"]} == {4}
    assert {p.ndim for p in others["params"]} == {1}
    assert (kernels["weight_decay"], others["weight_decay"]) == (0.1, 0)


def test_a_strength_that_is_advised_is_not_warned_of() -> None:
    heard = Heard()
    loop(replace(CONFIG, sparsity=1e-6)).check_sparsity(heard)
    (warning,) = heard.warnings
    assert "hardly any will become 0" in warning
    assert f"and they are {typical_scale(loop().scales):.3g}" in warning
    advice = float(warning.rsplit("try ", 1)[1])
    loop(replace(CONFIG, sparsity=advice)).check_sparsity(heard)
    loop(replace(CONFIG, sparsity=9 * advice)).check_sparsity(heard)
    assert len(heard.warnings) == 2 and "nearly all will become 0" in heard.warnings[1]
