"""Re-fitting against least squares on explicit patches, and where an exact solution exists."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.pruning.memory import PeakOfTensors
from tests.pruning.plans import random_plan, with_carriers, with_dead_channels
from tests.random_networks import network_specs, random_state
from yoloprune.darknet.parser import parse_cfg
from yoloprune.darknet.spec import NetworkSpec
from yoloprune.darknet.state import BATCH_NORM_EPSILON, ConvParameters, State
from yoloprune.darknet.zoo import yolov3_tiny
from yoloprune.errors import PlanError, WeightsError
from yoloprune.pruning.compensation import compensate
from yoloprune.pruning.fitting import fit_kernel, recalibrated
from yoloprune.pruning.groups import analyse
from yoloprune.pruning.plan import Budget, Compensation, PruningPlan
from yoloprune.pruning.reconstruction import (
    Recovery,
    memory_needed,
    recover,
)
from yoloprune.pruning.statistics import gather, patches, random_positions, values_at
from yoloprune.pruning.surgery import surgery
from yoloprune.pruning.verification import compare, head_maps

CFG = """[net]
height=12
width=12
channels=3
[convolutional]
batch_normalize=1
filters=8
size=3
pad=1
activation=leaky
[convolutional]
batch_normalize=1
filters=8
size=3
stride=2
pad=1
groups={groups}
activation={activation}
[convolutional]
filters=5
size=1
activation=linear
"""


def images_of(spec: NetworkSpec, count: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.rand(count, *spec.input_shape, dtype=torch.float64, generator=generator)


def plan_of(spec: NetworkSpec, keep: dict[int, tuple[int, ...]]) -> PruningPlan:
    return PruningPlan(spec_digest=spec.digest(), criterion="test", budget=Budget(), keep=keep)


@pytest.mark.parametrize("groups", [1, 2, 8])
@pytest.mark.parametrize("normalised", [True, False])
def test_the_closed_form_is_least_squares_on_explicit_patches(
    groups: int, normalised: bool
) -> None:
    text = CFG.format(groups=groups, activation="leaky")
    if not normalised:
        text = text.replace("batch_normalize=1", "")
    conv = parse_cfg(text).convs[1]
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(5, 8, 12, 12, dtype=torch.float64, generator=generator)
    wanted = torch.randn(5, 8, 6, 6, dtype=torch.float64, generator=generator)
    parameters = random_state(parse_cfg(text))[1]
    positions = random_positions(5, (8, 6, 6), 30, generator)
    samples = [(patches(inputs, conv, positions), values_at(wanted, conv, positions))]
    ridge = 1e-2
    fitted, before, after = fit_kernel(gather(conv, 8, samples), parameters, ridge, parameters.mean)
    assert after < before

    width = 8 // groups
    unfolded = F.unfold(inputs, 3, padding=1, stride=2).reshape(5, 8, 9, 6, 6)
    for part in range(groups):
        own = unfolded[:, part * width : (part + 1) * width].flatten(1, 2)
        rows = slice(part * width, (part + 1) * width)
        image = torch.arange(5)[:, None]
        u = own[image, :, positions.rows, positions.columns].reshape(150, -1).numpy()
        y = wanted[image, rows, positions.rows, positions.columns].reshape(150, -1).numpy()
        old = parameters.kernel[rows].flatten(1).numpy()
        root = np.sqrt(ridge * np.mean((u**2).sum(axis=0)))
        # The ridge as further samples: root x identity should give root x the old kernel.
        drawn = np.hstack([root * np.eye(u.shape[1]), np.zeros((u.shape[1], 1))])
        design = np.vstack([np.hstack([u, np.ones((150, 1))]), drawn])
        solution = np.linalg.lstsq(design, np.vstack([y, root * old.T]), rcond=None)[0]
        np.testing.assert_allclose(fitted.kernel[rows].flatten(1).numpy(), solution[:-1].T)
        if normalised:
            assert fitted.mean is not None and parameters.mean is not None
            constant = parameters.mean[rows] - fitted.mean[rows]
        else:
            constant = fitted.bias[rows]
        np.testing.assert_allclose(constant.numpy(), solution[-1])


def with_redundant_channels(state: State) -> dict[int, ConvParameters]:
    """Channels 4 to 7 of layer 0 give once more what 0 to 3 give, twice as large."""
    first = state[0]
    tensors = {name: tensor.clone() for name, tensor in first.items()}
    for name, tensor in tensors.items():
        tensor[4:] = tensor[:4]
        if name in ("bias", "scale"):
            tensor[4:] *= 2
    return dict(state) | {0: ConvParameters(**tensors)}


@pytest.mark.parametrize("groups", [1, 2])
def test_what_redundant_channels_gave_is_recovered_exactly(groups: int) -> None:
    spec = parse_cfg(CFG.format(groups=groups, activation="leaky"))
    state = with_redundant_channels(random_state(spec))
    # Half of each convolution group reads the copies: with two groups, 2 of 4 columns a group go.
    keep = (0, 1, 2, 3) if groups == 1 else (0, 1, 4, 5)
    if groups == 2:
        state = dict(state) | {0: _copied_within_halves(state[0])}
    plan = plan_of(spec, {0: keep})
    images = images_of(spec, 16)
    slim_spec, slim_state = surgery(spec, state, plan)
    dense = head_maps(spec, state, images)
    assert compare(head_maps(slim_spec, slim_state, images), dense).relative_error > 0.1
    recovered = recover(spec, state, plan, slim_spec, slim_state, images, ridge=1e-10)
    error = compare(head_maps(slim_spec, recovered.state, images), dense).relative_error
    assert error < 1e-6
    assert recovered.fits[1].before > 0.1 and recovered.fits[1].after < 1e-4


def _copied_within_halves(parameters: ConvParameters) -> ConvParameters:
    order = torch.tensor([0, 1, 0, 1, 4, 5, 4, 5])
    return ConvParameters(**{name: tensor[order] for name, tensor in parameters.items()})


@given(spec=network_specs(max_blocks=5), seed=st.integers(0, 9), recovery=st.sampled_from(Recovery))
@settings(max_examples=15)
def test_a_network_that_lost_nothing_stays_as_it_is(
    spec: NetworkSpec, seed: int, recovery: Recovery
) -> None:
    assume(recovery is Recovery.RECONSTRUCT or any(conv.batch_normalize for conv in spec.convs))
    state = random_state(spec, seed)
    recovered = recover(
        spec, state, plan_of(spec, {}), spec, state, images_of(spec, 3), recovery=recovery
    )
    for index, parameters in state.items():
        for (name, old), (_, new) in zip(
            parameters.items(), recovered.state[index].items(), strict=True
        ):
            assert torch.allclose(old, new, rtol=1e-6, atol=1e-8), (index, name)


@given(spec=network_specs(max_blocks=5), seed=st.integers(0, 9), recovery=st.sampled_from(Recovery))
@settings(max_examples=15)
def test_every_network_can_be_recovered(spec: NetworkSpec, seed: int, recovery: Recovery) -> None:
    assume(recovery is Recovery.RECONSTRUCT or any(conv.batch_normalize for conv in spec.convs))
    state = random_state(spec, seed)
    plan = random_plan(analyse(spec), seed)
    slim_spec, slim_state = surgery(spec, state, plan)
    first, again = (
        recover(
            spec, state, plan, slim_spec, slim_state, images_of(spec, 3), recovery=recovery, seed=1
        )
        for _ in range(2)
    )
    for conv in slim_spec.convs:
        for (_, a), (_, b) in zip(
            first.state[conv.index].items(), again.state[conv.index].items(), strict=True
        ):
            assert a.isfinite().all() and torch.equal(a, b)
    for fit in first.fits.values():
        # Rounded are their squares, differences of sums in float64.
        assert fit.after**2 <= fit.before**2 + 1e-11


def test_recalibration_gives_each_channel_its_dense_mean_and_deviation() -> None:
    spec = parse_cfg(CFG.format(groups=1, activation="linear"))
    state = random_state(spec)
    plan = plan_of(spec, {0: (0, 2, 5, 7)})
    images = images_of(spec, 16)
    slim_spec, slim_state = surgery(spec, state, plan)
    recovered = recover(
        spec, state, plan, slim_spec, slim_state, images, recovery=Recovery.RECALIBRATE
    )
    outputs = []
    for network, parameters in ((spec, state), (slim_spec, recovered.state)):
        # The network's first two layers: what layer 1 gives after batch norm.
        first_two = replace(network, layers=network.layers[:2])
        (output,) = head_maps(first_two, {i: parameters[i] for i in (0, 1)}, images)
        outputs.append(output)
    for measure in (torch.mean, torch.std):
        dense, slim = (measure(output, dim=(0, 2, 3)) for output in outputs)
        assert torch.allclose(dense, slim, rtol=1e-4)
    assert torch.equal(recovered.state[1].kernel, slim_state[1].kernel)


@pytest.mark.parametrize("compensation", Compensation)
@pytest.mark.parametrize(
    ("recovery", "without"),
    # Without any batch norm there is nothing to recalibrate.
    [*itertools.product(Recovery, [[], [1]]), (Recovery.RECONSTRUCT, [0, 1])],
)
def test_constants_that_compensation_moved_count_once(
    compensation: Compensation, recovery: Recovery, without: list[int]
) -> None:
    text = CFG.format(groups=1, activation="leaky").replace("size=3", "size=1")
    text = text.replace("pad=1\n", "")
    parts = text.split("batch_normalize=1\n")
    norms = ["" if layer in without else "batch_normalize=1\n" for layer in (0, 1)]
    spec = parse_cfg(parts[0] + norms[0] + parts[1] + norms[1] + parts[2])
    graph = analyse(spec)
    cut = plan_of(spec, {0: (0, 2, 5, 7), 1: tuple(range(8))})
    plan = replace(cut, compensation=compensation)
    if compensation is Compensation.CARRIER:
        plan = with_carriers(graph, cut)
    state = with_dead_channels(graph, random_state(spec), cut)
    state[0] = replace(state[0], bias=torch.full_like(state[0].bias, 3.0))
    images = images_of(spec, 16)
    slim_spec, slim_state = surgery(spec, compensate(spec, state, plan), plan)
    recovered = recover(
        spec, state, plan, slim_spec, slim_state, images, recovery=recovery, ridge=1e-8
    )
    dense = head_maps(spec, state, images)
    error = compare(head_maps(slim_spec, recovered.state, images), dense).relative_error
    # Without batch norm there is nothing to recalibrate.
    lost = compensation is Compensation.NONE and recovery is Recovery.RECALIBRATE
    assert (error > 0.1) if lost and without else error < 1e-6
    for group, numbers in plan.carriers.items() if recovery is Recovery.RECONSTRUCT else ():
        for number in numbers:
            # The re-fit leaves a carrier the constant that its consumers count on.
            place, layer = plan.keep[group].index(number), group
            for name, tensor in slim_state[layer].items():
                assert torch.equal(dict(recovered.state[layer].items())[name][place], tensor[place])


def test_nothing_to_recalibrate_is_refused() -> None:
    spec = parse_cfg(CFG.format(groups=1, activation="leaky").replace("batch_normalize=1", ""))
    state, plan = random_state(spec), plan_of(spec, {})
    with pytest.raises(PlanError, match="no layer has batch norm"):
        recover(spec, state, plan, spec, state, images_of(spec, 1), recovery=Recovery.RECALIBRATE)


def test_a_variance_that_cannot_be_stored_does_not_move_the_mean() -> None:
    spec = parse_cfg(CFG.format(groups=1, activation="linear"))
    state = dict(random_state(spec))
    # So small that what is left of it less the epsilon is below zero.
    tiny = torch.full_like(state[1].bias, 1e-9)
    state[1] = replace(state[1], variance=tiny, scale=torch.ones_like(tiny))
    state[0] = replace(state[0], bias=state[0].bias * 0 + 1)
    plan = plan_of(spec, {0: (0,)})
    images = images_of(spec, 16)
    slim_spec, slim_state = surgery(spec, state, plan)
    recovered = recover(
        spec, state, plan, slim_spec, slim_state, images, recovery=Recovery.RECALIBRATE
    ).state
    assert (recovered[1].variance == 0).any()
    means = []
    for network, parameters in ((spec, state), (slim_spec, recovered)):
        first_two = replace(network, layers=network.layers[:2])
        (output,) = head_maps(first_two, {i: parameters[i] for i in (0, 1)}, images)
        means.append(output.mean(dim=(0, 2, 3)))
    assert torch.allclose(*means, rtol=1e-6)


def test_a_dead_channel_is_not_blown_up() -> None:
    parameters = random_state(parse_cfg(CFG.format(groups=1, activation="linear")))[0]
    ones = torch.ones(8, dtype=torch.float64)
    nothing = (0 * ones, 1e-12 * ones)
    same, dead = (recalibrated(parameters, 0 * ones, (0 * ones, ones), own)
                  for own in ((0 * ones, ones), nothing))  # fmt: skip
    assert same.variance is not None and dead.variance is not None
    gain = ((same.variance + BATCH_NORM_EPSILON) / (dead.variance + BATCH_NORM_EPSILON)).sqrt()
    assert torch.allclose(gain, 10 * ones)


def test_a_kernel_that_too_few_samples_determine_stays_closer_to_the_old_one() -> None:
    spec = parse_cfg(CFG.format(groups=1, activation="leaky"))
    state, images = random_state(spec), images_of(spec, 1)
    plan = plan_of(spec, {0: (0, 2, 5, 7)})
    slim_spec, slim_state = surgery(spec, state, plan)
    recovered = recover(spec, state, plan, slim_spec, slim_state, images, ridge=1e-2)
    assert recovered.fits[1].scarce and not recovered.fits[0].scarce
    # All 36 places are sampled, so the moments can be made again in any order.
    conv = slim_spec.convs[1]
    (inputs,) = head_maps(replace(slim_spec, layers=slim_spec.layers[:1]),
                          {0: recovered.state[0]}, images)  # fmt: skip
    (read,) = head_maps(replace(spec, layers=spec.layers[:1]), {0: state[0]}, images)
    wanted = F.conv2d(read, state[1].kernel, stride=2, padding=1)
    positions = random_positions(1, (8, 6, 6), 36, torch.Generator().manual_seed(5))
    samples = [(patches(inputs, conv, positions), values_at(wanted, conv, positions))]
    moments, old = gather(conv, 4, samples), slim_state[1]
    ten_times, once = (fit_kernel(moments, old, r, state[1].mean)[0].kernel for r in (0.1, 0.01))
    assert torch.allclose(recovered.state[1].kernel, ten_times, rtol=1e-6)
    assert not torch.allclose(recovered.state[1].kernel, once, rtol=1e-2)


def test_too_few_images_are_told_and_change_little() -> None:
    spec = parse_cfg(CFG.format(groups=1, activation="leaky"))
    state = random_state(spec)
    plan = plan_of(spec, {0: (0, 2, 5, 7)})
    slim_spec, slim_state = surgery(spec, state, plan)
    few, enough = (
        recover(spec, state, plan, slim_spec, slim_state, images_of(spec, count)).fits[1]
        for count in (1, 2)
    )
    # 4 channels x 9 and a constant; 36 places in an output map of 6 x 6.
    assert (few.unknowns, few.samples, few.images_needed, few.scarce) == (37, 36, 2, True)
    assert (enough.samples, enough.scarce) == (72, False)


def test_weights_that_overflow_are_refused() -> None:
    spec = parse_cfg(CFG.format(groups=1, activation="leaky"))
    state = random_state(spec)
    state[0] = replace(state[0], kernel=state[0].kernel * 1e300)
    with pytest.raises(WeightsError, match=r"layer 0 \[convolutional\]: .* not finite"):
        recover(spec, state, plan_of(spec, {}), spec, state, images_of(spec, 2))


def test_a_plan_of_another_network_is_refused() -> None:
    spec = parse_cfg(CFG.format(groups=1, activation="leaky"))
    other = parse_cfg(CFG.format(groups=2, activation="leaky"))
    state = random_state(spec)
    with pytest.raises(PlanError, match="another network"):
        recover(spec, state, plan_of(other, {}), spec, state, images_of(spec, 1))


@pytest.mark.parametrize(
    ("spec", "count"),
    [
        (yolov3_tiny(classes=2, width=0.25, size=(96, 96)), 8),  # Large kernels, small maps.
        (yolov3_tiny(classes=2, width=0.0625, size=(224, 224)), 16),  # The other way round.
    ],
)
def test_the_memory_is_about_what_was_said(spec: NetworkSpec, count: int) -> None:
    state = {
        index: ConvParameters(**{name: tensor.float() for name, tensor in parameters.items()})
        for index, parameters in random_state(spec).items()
    }
    plan = random_plan(analyse(spec), 0)
    slim_spec, slim_state = surgery(spec, state, plan)
    images = images_of(spec, count).float()
    peaks = []
    for recovery in Recovery:
        with PeakOfTensors() as tensors:
            recover(spec, state, plan, slim_spec, slim_state, images, recovery=recovery)
        peaks.append(tensors.peak)
    networks = sum(
        tensor.nbytes
        for own in (state, slim_state)
        for parameters in own.values()
        for _, tensor in parameters.items()
    )
    said = networks + memory_needed(spec, slim_spec, count)
    assert max(peaks) < 1.2 * said and said < 2 * max(peaks)
