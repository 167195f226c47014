"""Re-fitting against least squares on explicit patches, and where an exact solution exists."""

import itertools
from collections.abc import Callable, Mapping
from dataclasses import replace

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.pruning.networks import (
    every_contraction,
    outputs_of,
    random_parameters,
    relative_error,
    slim_of,
)
from tests.pruning.plans import random_plan, with_carriers, with_dead_channels
from tests.pruning.recover.convolutions import CFG, images_of, network, plan_of, value_of
from tests.random_networks import network_specs, random_state
from yoloprune.errors import PlanError, WeightsError
from yoloprune.frontends.darknet.lower import parameters
from yoloprune.frontends.darknet.parser import parse_cfg
from yoloprune.frontends.darknet.spec import NetworkSpec
from yoloprune.pruning.choices import Compensation
from yoloprune.pruning.compensation import compensate
from yoloprune.pruning.groups import analyze
from yoloprune.pruning.recover.network import Recovery, recover


def in_layer_0(
    arrays: Mapping[str, torch.Tensor], change: Callable[[str, torch.Tensor], torch.Tensor]
) -> dict[str, torch.Tensor]:
    return {
        name: change(name, tensor.clone()) if name.startswith("layer_0.") else tensor
        for name, tensor in arrays.items()
    }


def redundant(name: str, tensor: torch.Tensor) -> torch.Tensor:
    """Channels 4 to 7 give once more what 0 to 3 give, twice as large."""
    tensor[4:] = tensor[:4]
    if name.endswith(("bias", "scale")):
        tensor[4:] *= 2
    return tensor


def copied_within_halves(name: str, tensor: torch.Tensor) -> torch.Tensor:
    return tensor[torch.tensor([0, 1, 0, 1, 4, 5, 4, 5])]


@pytest.mark.parametrize("groups", [1, 2])
def test_what_redundant_channels_gave_is_recovered_exactly(groups: int) -> None:
    spec = parse_cfg(CFG.format(groups=groups, activation="leaky"))
    dependencies = network(spec)
    # Half of each convolution group reads the copies: with two groups, 2 of 4 columns a group go.
    keep = (0, 1, 2, 3) if groups == 1 else (0, 1, 4, 5)
    state = in_layer_0(parameters(random_state(spec)), redundant)
    if groups == 2:
        state = in_layer_0(state, copied_within_halves)
    plan = plan_of(dependencies, {0: keep})
    images = images_of(dependencies, 16)
    slim = slim_of(dependencies, state, plan)
    dense = outputs_of((dependencies.graph, state), images)
    assert relative_error(outputs_of(slim, images), dense) > 0.1
    recovered = recover(dependencies, state, plan, slim, images, ridge=1e-10)
    assert relative_error(outputs_of((slim[0], recovered.parameters), images), dense) < 1e-6
    fit = recovered.fits["layer_1.conv"]
    assert fit.before > 0.1 and fit.after < 1e-4
    left = recover(dependencies, state, plan, slim, images, ridge=1e-10, fixed=["layer_1.conv"])
    assert left.fits.keys() == recovered.fits.keys() - {"layer_1.conv"}
    held = [name for name in slim[1] if name.startswith("layer_1.")]
    assert held and all(torch.equal(left.parameters[name], slim[1][name]) for name in held)


@given(spec=network_specs(max_blocks=5), seed=st.integers(0, 9), recovery=st.sampled_from(Recovery))
@settings(max_examples=15)
def test_a_network_that_lost_nothing_stays_as_it_is(
    spec: NetworkSpec, seed: int, recovery: Recovery
) -> None:
    assume(recovery is Recovery.RECONSTRUCT or any(conv.batch_normalize for conv in spec.convs))
    dependencies, state = network(spec), parameters(random_state(spec, seed))
    recovered = recover(
        dependencies,
        state,
        plan_of(dependencies, {}),
        (dependencies.graph, state),
        images_of(dependencies, 3),
        recovery=recovery,
    )
    for name, old in state.items():
        assert torch.allclose(old, recovered.parameters[name], rtol=1e-6, atol=1e-8), name


@given(spec=network_specs(max_blocks=5), seed=st.integers(0, 9), recovery=st.sampled_from(Recovery))
@settings(max_examples=15)
def test_every_network_can_be_recovered(spec: NetworkSpec, seed: int, recovery: Recovery) -> None:
    assume(recovery is Recovery.RECONSTRUCT or any(conv.batch_normalize for conv in spec.convs))
    dependencies, state = network(spec), parameters(random_state(spec, seed))
    plan = random_plan(dependencies, seed)
    slim, images = slim_of(dependencies, state, plan), images_of(dependencies, 3)
    first, again = (
        recover(dependencies, state, plan, slim, images, recovery=recovery, seed=1)
        for _ in range(2)
    )
    for name, a in first.parameters.items():
        assert a.isfinite().all() and torch.equal(a, again.parameters[name])
    for fit in first.fits.values():
        # Rounded are their squares, differences of sums in float64: most where outputs hardly vary.
        assert fit.after <= max(fit.before, 1e-5)


@pytest.mark.parametrize("seed", range(3))
def test_every_contraction_can_be_refitted(seed: int) -> None:
    dependencies = analyze(every_contraction())
    state, plan = random_parameters(dependencies.graph), random_plan(dependencies, seed)
    slim, images = slim_of(dependencies, state, plan), images_of(dependencies, 40)
    recovered = recover(dependencies, state, plan, slim, images)
    # The windows of the transposed convolution overlap.
    assert list(recovered.fits) == ["conv", "gemm", "turned", "product", "last"]
    dense = outputs_of((dependencies.graph, state), images)
    before, after = (
        float((outputs_of((slim[0], own), images)[0] - dense[0]).square().sum())
        for own in (slim[1], recovered.parameters)
    )
    assert after < 0.5 * before
    assert torch.equal(recovered.parameters["deconv.kernel"], slim[1]["deconv.kernel"])


def test_recalibration_gives_each_channel_its_dense_mean_and_deviation() -> None:
    spec = parse_cfg(CFG.format(groups=1, activation="linear"))
    dependencies, state = network(spec), parameters(random_state(spec))
    plan = plan_of(dependencies, {0: (0, 2, 5, 7)})
    images = images_of(dependencies, 16)
    slim = slim_of(dependencies, state, plan)
    recovered = recover(
        dependencies, state, plan, slim, images, recovery=Recovery.RECALIBRATE
    ).parameters
    outputs = [
        value_of(found, "layer_1.norm", images)
        for found in ((dependencies.graph, state), (slim[0], recovered))
    ]
    for measure in (torch.mean, torch.std):
        dense, own = (measure(output, dim=(0, 2, 3)) for output in outputs)
        assert torch.allclose(dense, own, rtol=1e-4)
    assert torch.equal(recovered["layer_1.kernel"], slim[1]["layer_1.kernel"])


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
    graph = network(spec)
    cut = plan_of(graph, {0: (0, 2, 5, 7), 1: tuple(range(8))})
    plan = replace(cut, compensation=compensation)
    if compensation is Compensation.CARRIER:
        plan = with_carriers(graph, cut)
    state = with_dead_channels(graph, parameters(random_state(spec)), cut)
    state["layer_0.bias"] = torch.full_like(state["layer_0.bias"], 3.0)
    images = images_of(graph, 16)
    slim = slim_of(graph, compensate(graph, state, plan), plan)
    recovered = recover(graph, state, plan, slim, images, recovery=recovery, ridge=1e-8).parameters
    dense = outputs_of((graph.graph, state), images)
    error = relative_error(outputs_of((slim[0], recovered), images), dense)
    # Without batch norm there is nothing to recalibrate.
    lost = compensation is Compensation.NONE and recovery is Recovery.RECALIBRATE
    assert (error > 0.1) if lost and without else error < 1e-6
    for group, numbers in plan.carriers.items() if recovery is Recovery.RECONSTRUCT else ():
        for number in numbers:
            # The re-fit leaves a carrier the constant that its consumers count on.
            place = plan.keep[group].index(number)
            own = [name for name in slim[1] if name.startswith(f"layer_{group}.")]
            for name in own:
                assert torch.equal(recovered[name][place], slim[1][name][place])


def test_nothing_to_recalibrate_is_refused() -> None:
    spec = parse_cfg(CFG.format(groups=1, activation="leaky").replace("batch_normalize=1", ""))
    dependencies, state = network(spec), parameters(random_state(spec))
    plan, slim = plan_of(dependencies, {}), (dependencies.graph, state)
    images = images_of(dependencies, 1)
    with pytest.raises(PlanError, match="no layer has batch norm"):
        recover(dependencies, state, plan, slim, images, recovery=Recovery.RECALIBRATE)


def test_too_few_images_are_told_and_change_little() -> None:
    spec = parse_cfg(CFG.format(groups=1, activation="leaky"))
    dependencies, state = network(spec), parameters(random_state(spec))
    plan = plan_of(dependencies, {0: (0, 2, 5, 7)})
    slim = slim_of(dependencies, state, plan)
    few, enough = (
        recover(dependencies, state, plan, slim, images_of(dependencies, count)).fits[
            "layer_1.conv"
        ]
        for count in (1, 2)
    )
    # 4 channels x 9 and a constant; 36 places in an output map of 6 x 6.
    assert (few.unknowns, few.samples, few.images_needed, few.scarce) == (37, 36, 2, True)
    assert (enough.samples, enough.scarce) == (72, False)


def test_weights_that_overflow_are_refused() -> None:
    spec = parse_cfg(CFG.format(groups=1, activation="leaky"))
    dependencies, state = network(spec), parameters(random_state(spec))
    state["layer_0.kernel"] = state["layer_0.kernel"] * 1e300
    plan, slim = plan_of(dependencies, {}), (dependencies.graph, state)
    with pytest.raises(WeightsError, match=r"layer_0\.conv: .* not finite"):
        recover(dependencies, state, plan, slim, images_of(dependencies, 2))


def test_a_plan_of_another_network_is_refused() -> None:
    spec = parse_cfg(CFG.format(groups=1, activation="leaky"))
    other = network(parse_cfg(CFG.format(groups=2, activation="leaky")))
    dependencies, state = network(spec), parameters(random_state(spec))
    slim = (dependencies.graph, state)
    with pytest.raises(PlanError, match="another network"):
        recover(dependencies, state, plan_of(other, {}), slim, images_of(dependencies, 1))
