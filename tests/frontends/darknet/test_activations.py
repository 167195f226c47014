import math
from collections.abc import Callable

import pytest
import torch

from tests.networks import activated
from yoloprune.frontends.darknet.activations import ACTIVATIONS as LOWERED
from yoloprune.frontends.darknet.options import ACTIVATIONS

SCALAR_ACTIVATIONS: dict[str, Callable[[float], float]] = {
    "elu": lambda x: x if x >= 0 else math.exp(x) - 1,
    "gelu": lambda x: x / 2 * (1 + math.tanh(0.797885 * x + 0.035677 * x**3)),
    "hard_mish": lambda x: x if x > 0 else x * x / 2 + x if x > -2 else 0.0,
    "hardtan": lambda x: min(1.0, max(-1.0, x)),
    "leaky": lambda x: x if x > 0 else 0.1 * x,
    "lhtan": lambda x: 0.001 * x if x < 0 else 0.001 * (x - 1) + 1 if x > 1 else x,
    "linear": lambda x: x,
    "loggy": lambda x: 2 / (1 + math.exp(-x)) - 1,
    "logistic": lambda x: 1 / (1 + math.exp(-x)),
    "mish": lambda x: x * math.tanh(math.log1p(math.exp(x))),
    "plse": lambda x: (
        0.01 * (x + 4) if x < -4 else 0.01 * (x - 4) + 1 if x > 4 else 0.125 * x + 0.5
    ),
    "ramp": lambda x: (x if x > 0 else 0.0) + 0.1 * x,
    "relie": lambda x: x if x > 0 else 0.01 * x,
    "relu": lambda x: max(0.0, x),
    "relu6": lambda x: min(6.0, max(0.0, x)),
    "selu": lambda x: 1.0507 * x if x >= 0 else 1.0507 * 1.6732 * (math.exp(x) - 1),
    "stair": lambda x: (
        math.floor(x / 2) if math.floor(x) % 2 == 0 else x - math.floor(x) + math.floor(x / 2)
    ),
    "swish": lambda x: x / (1 + math.exp(-x)),
    "tanh": lambda x: 2 / (1 + math.exp(-2 * x)) - 1,
}


def test_every_activation_has_a_function_and_a_reference():
    assert LOWERED.keys() == SCALAR_ACTIVATIONS.keys() == ACTIVATIONS


@pytest.mark.parametrize("name", SCALAR_ACTIVATIONS)
def test_activation_values(name):
    points = [x / 8 for x in range(-72, 73)] + [-4.0, -2.0, -1.0, -0.0, 1.0, 4.0, 6.0]
    expected = torch.tensor([SCALAR_ACTIVATIONS[name](x) for x in points], dtype=torch.float64)
    found = activated(name, torch.tensor(points, dtype=torch.float64))
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", SCALAR_ACTIVATIONS)
def test_activations_of_large_values_are_finite_and_have_gradients(name):
    x = torch.tensor([-200.0, -20.0, -1e-3, 1e-3, 20.0, 200.0], requires_grad=True)
    y = activated(name, x)
    y.sum().backward()
    assert y.isfinite().all()
    assert x.grad is not None
    assert x.grad.isfinite().all()
