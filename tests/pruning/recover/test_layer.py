import numpy as np
import pytest
import torch
import torch.nn.functional as F

from tests.pruning.networks import (
    slim_of,
)
from tests.pruning.recover.convolutions import CFG, images_of, network, plan_of, value_of
from tests.random_networks import random_state
from yoloprune.frontends.darknet.lower import parameters
from yoloprune.frontends.darknet.parser import parse_cfg
from yoloprune.frontends.darknet.state import BATCH_NORM_EPSILON
from yoloprune.pruning.groups import analyze
from yoloprune.pruning.layers import layers_of
from yoloprune.pruning.recover.layer import RIDGES, fit_kernel, held_out_ridge, recalibrated
from yoloprune.pruning.recover.moments import (
    gather,
    gather_parts,
    joined,
    patches,
    random_positions,
    values_at,
)
from yoloprune.pruning.recover.network import Recovery, recover


@pytest.mark.parametrize("groups", [1, 2, 8])
@pytest.mark.parametrize("normalized", [True, False])
def test_the_closed_form_is_least_squares_on_explicit_patches(
    groups: int, normalized: bool
) -> None:
    text = CFG.format(groups=groups, activation="leaky")
    if not normalized:
        text = text.replace("batch_normalize=1", "")
    conv = layers_of(network(parse_cfg(text)))["layer_1.conv"]
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(5, 8, 12, 12, dtype=torch.float64, generator=generator)
    wanted = torch.randn(5, 8, 6, 6, dtype=torch.float64, generator=generator)
    arrays = parameters(random_state(parse_cfg(text)))
    positions = random_positions(5, (6, 6), 30, generator)
    rows_at, columns_at = positions.axes
    samples = [(patches(inputs, conv, positions), values_at(wanted, conv, positions))]
    ridge = 1e-2
    mean = arrays.get("layer_1.mean")
    fitted = fit_kernel(gather(conv, samples), conv, arrays, ridge, mean)
    assert fitted.after < fitted.before
    kernel, old_kernel = fitted.arrays["layer_1.kernel"], arrays["layer_1.kernel"]

    width = 8 // groups
    unfolded = F.unfold(inputs, 3, padding=1, stride=2).reshape(5, 8, 9, 6, 6)
    for part in range(groups):
        own = unfolded[:, part * width : (part + 1) * width].flatten(1, 2)
        rows = slice(part * width, (part + 1) * width)
        image = torch.arange(5)[:, None]
        u = own[image, :, rows_at, columns_at].reshape(150, -1).numpy()
        y = wanted[image, rows, rows_at, columns_at].reshape(150, -1).numpy()
        old = old_kernel[rows].flatten(1).numpy()
        root = np.sqrt(ridge * np.mean((u**2).sum(axis=0)))
        # The ridge as further samples: root x identity should give root x the old kernel.
        drawn = np.hstack([root * np.eye(u.shape[1]), np.zeros((u.shape[1], 1))])
        design = np.vstack([np.hstack([u, np.ones((150, 1))]), drawn])
        solution = np.linalg.lstsq(design, np.vstack([y, root * old.T]), rcond=None)[0]
        np.testing.assert_allclose(kernel[rows].flatten(1).numpy(), solution[:-1].T)
        if mean is not None:
            constant = mean[rows] - fitted.arrays["layer_1.mean"][rows]
        else:
            constant = fitted.arrays["layer_1.bias"][rows]
        np.testing.assert_allclose(constant.numpy(), solution[-1])


def test_a_variance_that_cannot_be_stored_does_not_move_the_mean() -> None:
    spec = parse_cfg(CFG.format(groups=1, activation="linear"))
    dependencies, state = network(spec), parameters(random_state(spec))
    # So small that what is left of it less the epsilon is below zero.
    tiny = torch.full_like(state["layer_1.bias"], 1e-9)
    state |= {"layer_1.variance": tiny, "layer_1.scale": torch.ones_like(tiny)}
    state["layer_0.bias"] = torch.ones_like(state["layer_0.bias"])
    plan = plan_of(dependencies, {0: (0,)})
    images = images_of(dependencies, 16)
    slim = slim_of(dependencies, state, plan)
    recovered = recover(
        dependencies, state, plan, slim, images, recovery=Recovery.RECALIBRATE
    ).parameters
    assert (recovered["layer_1.variance"] == 0).any()
    means = [
        value_of(found, "layer_1.norm", images).mean(dim=(0, 2, 3))
        for found in ((dependencies.graph, state), (slim[0], recovered))
    ]
    assert torch.allclose(*means, rtol=1e-6)


def test_a_dead_channel_is_not_blown_up() -> None:
    spec = parse_cfg(CFG.format(groups=1, activation="linear"))
    arrays, layer = parameters(random_state(spec)), layers_of(network(spec))["layer_0.conv"]
    ones = torch.ones(8, dtype=torch.float64)
    nothing = (0 * ones, 1e-12 * ones)
    same, dead = (
        recalibrated(layer, arrays, 0 * ones, (0 * ones, ones), own)["layer_0.variance"]
        for own in ((0 * ones, ones), nothing)
    )
    gain = ((same + BATCH_NORM_EPSILON) / (dead + BATCH_NORM_EPSILON)).sqrt()
    assert torch.allclose(gain, 10 * ones)


def test_a_kernel_that_too_few_samples_determine_stays_closer_to_the_old_one() -> None:
    spec = parse_cfg(CFG.format(groups=1, activation="linear"))
    dependencies, state = network(spec), parameters(random_state(spec))
    images, plan = images_of(dependencies, 1), plan_of(dependencies, {0: (0, 2, 5, 7)})
    slim = slim_of(dependencies, state, plan)
    recovered = recover(dependencies, state, plan, slim, images, ridge=1e-2)
    fits = recovered.fits
    assert fits["layer_1.conv"].scarce and not fits["layer_0.conv"].scarce
    # All 36 places are sampled, so the moments can be made again in any order.
    conv = layers_of(analyze(slim[0]))["layer_1.conv"]
    inputs = value_of((slim[0], recovered.parameters), "layer_0.leaky", images)
    wanted = value_of((dependencies.graph, state), "layer_1.conv", images)
    positions = random_positions(1, (6, 6), 36, torch.Generator().manual_seed(5))
    samples = [(patches(inputs, conv, positions), values_at(wanted, conv, positions))]
    moments, mean = gather(conv, samples), state["layer_1.mean"]
    ten_times, once = (
        fit_kernel(moments, conv, slim[1], r, mean).arrays["layer_1.kernel"] for r in (0.1, 0.01)
    )
    assert torch.allclose(recovered.parameters["layer_1.kernel"], ten_times, rtol=1e-6)
    assert not torch.allclose(recovered.parameters["layer_1.kernel"], once, rtol=1e-2)


@pytest.mark.parametrize(("noise", "ridge"), [(0.0, RIDGES[0]), (3.0, RIDGES[-1])])
def test_the_ridge_is_the_one_that_is_best_on_other_images(noise: float, ridge: float) -> None:
    spec = parse_cfg(CFG.format(groups=1, activation="leaky"))
    conv, arrays = layers_of(network(spec))["layer_1.conv"], parameters(random_state(spec))
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(8, 8, 12, 12, dtype=torch.float64, generator=generator)
    # The old kernel is right but for noise; or another one is, which every image tells.
    kernel = arrays["layer_1.kernel"].double()
    if not noise:
        kernel = kernel + torch.randn(kernel.shape, dtype=torch.float64, generator=generator)
    wanted = F.conv2d(inputs, kernel, stride=2, padding=1)
    wanted += noise * torch.randn(wanted.shape, dtype=torch.float64, generator=generator)
    positions = random_positions(8, (6, 6), 36, generator)
    u, y = patches(inputs, conv, positions), values_at(wanted, conv, positions)
    halves = gather_parts(conv, [(u[:, :144], y[:, :144]), (u[:, 144:], y[:, 144:])], 2)
    mean = torch.zeros(8, dtype=torch.float64)
    zero = {**arrays, "layer_1.mean": torch.zeros(8)}
    assert held_out_ridge(halves, conv, zero, mean) == ridge
    whole, both = gather(conv, [(u, y)]), joined(halves)
    torch.testing.assert_close(both.gram, whole.gram)
    torch.testing.assert_close(both.cross, whole.cross)
    assert both.count == whole.count == 288
