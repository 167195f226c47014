"""Fits to batches of images against least squares on all of them at once."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from tests.pruning.networks import slim_of
from tests.pruning.recover.convolutions import CFG, images_of, network, plan_of, value_of
from tests.random_networks import random_state
from yoloprune.errors import WeightsError
from yoloprune.frontends.darknet.lower import parameters
from yoloprune.frontends.darknet.parser import parse_cfg
from yoloprune.pruning.recover.network import Recovery, recover

SPEC = parse_cfg(CFG.format(groups=1, activation="linear"))
DEPENDENCIES, STATE = network(SPEC), parameters(random_state(SPEC))
PLAN = plan_of(DEPENDENCIES, {0: (0, 2, 5, 7)})
SLIM = slim_of(DEPENDENCIES, STATE, PLAN)


@pytest.fixture
def in_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of as few images as can be."""
    monkeypatch.setattr("yoloprune.execution.stream.LIMIT", 0)


def test_batches_give_least_squares_on_all_images(in_batches: None) -> None:
    # What layer 1 reads, layer 0 gives exactly, whatever it is fitted to. All places are samples.
    images, ridge = images_of(DEPENDENCIES, 20), 1e-2
    found = recover(DEPENDENCIES, STATE, PLAN, SLIM, images, ridge=ridge)
    dense, slim = (DEPENDENCIES.graph, STATE), SLIM
    read = value_of(slim, "layer_0.leaky", images)
    u = F.unfold(read, 3, padding=1, stride=2).transpose(1, 2).reshape(20 * 36, 36).numpy()
    y = value_of(dense, "layer_1.conv", images).movedim(1, -1).reshape(20 * 36, 8).numpy()
    old = slim[1]["layer_1.kernel"].flatten(1).numpy()
    root = np.sqrt(ridge * np.mean(np.square(u).sum(axis=0)))
    design = np.vstack([np.hstack([u, np.ones((len(u), 1))]), np.eye(36, 37) * root])
    best = np.linalg.lstsq(design, np.vstack([y, root * old.T]), rcond=None)[0]
    kernel = found.parameters["layer_1.kernel"].flatten(1).numpy()
    np.testing.assert_allclose(kernel, best[:36].T, rtol=1e-6, atol=1e-9)
    assert found.fits["layer_1.conv"].samples == 20 * 36


def test_batches_recalibrate_to_the_statistics_of_all_images(
    in_batches: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = images_of(DEPENDENCIES, 20)
    parts = recover(DEPENDENCIES, STATE, PLAN, SLIM, images, recovery=Recovery.RECALIBRATE)
    monkeypatch.undo()
    whole = recover(DEPENDENCIES, STATE, PLAN, SLIM, images, recovery=Recovery.RECALIBRATE)
    for name, array in whole.parameters.items():
        torch.testing.assert_close(parts.parameters[name], array)


def test_batches_through_activations_lose_little_to_one(
    in_batches: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = parse_cfg(CFG.format(groups=1, activation="leaky"))
    dependencies, state = network(spec), parameters(random_state(spec))
    plan = plan_of(dependencies, {0: (0, 2, 5, 7)})
    slim = slim_of(dependencies, state, plan)
    images = images_of(dependencies, 64)
    dense = value_of((dependencies.graph, state), "layer_2.conv", images)

    def error() -> float:
        found = recover(dependencies, state, plan, slim, images).parameters
        return float((value_of((slim[0], found), "layer_2.conv", images) - dense).square().sum())

    parts = error()
    monkeypatch.undo()
    whole = error()
    before = float((value_of(slim, "layer_2.conv", images) - dense).square().sum())
    assert parts < 1.05 * whole < 0.5 * before


def test_a_batch_that_overflows_is_refused(in_batches: None) -> None:
    images = images_of(DEPENDENCIES, 20)
    images[19] = float("inf")
    with pytest.raises(WeightsError, match=r"layer_0\.conv: what it reads or gives"):
        recover(DEPENDENCIES, STATE, PLAN, SLIM, images)
