"""Whole networks against OpenCV's Darknet importer, and the model's own promises."""

import copy
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.architectures import ARCHITECTURES
from tests.networks import network_of
from tests.random_networks import network_specs, random_state
from yoloprune.errors import WeightsError
from yoloprune.execution.module import Network
from yoloprune.frontends.darknet.lower import lower, parameters
from yoloprune.frontends.darknet.parser import parse_cfg, write_cfg
from yoloprune.frontends.darknet.spec import Conv, NetworkSpec, with_input_size
from yoloprune.frontends.darknet.state import ConvParameters, State
from yoloprune.frontends.darknet.weights import write_weights
from yoloprune.frontends.darknet.zoo import NETWORKS

BUILDERS = NETWORKS | ARCHITECTURES


def images_for(spec: NetworkSpec, batch: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(7)
    return torch.rand((batch, *spec.input_shape), generator=generator)


def opencv_maps(folder: Path, spec: NetworkSpec, state: State, images: Tensor) -> list[np.ndarray]:
    """What OpenCV computes for the convolutions that the heads read."""
    write_cfg(folder / "a.cfg", spec)
    write_weights(folder / "a.weights", spec, state)
    network = cv2.dnn.readNetFromDarknet(str(folder / "a.cfg"), str(folder / "a.weights"))
    network.setInput(images.numpy())
    names = set(network.getLayerNames())
    wanted = []
    for head in spec.heads:
        conv = spec.layers[head.sources[0]]
        assert isinstance(conv, Conv)
        # OpenCV names an activation after the layer that follows its convolution.
        activated = f"{conv.activation}_{conv.index + 1}"
        wanted.append(activated if activated in names else f"conv_{conv.index}")
    return list(network.forward(wanted))


@settings(max_examples=20)
@given(network_specs(), st.integers(0, 2**31))
def test_the_copy_for_inference_computes_the_same(spec: NetworkSpec, seed: int) -> None:
    network = network_of(spec, random_state(spec, seed, torch.float64)).train()
    before = copy.deepcopy(network.state_dict())
    fast = network.for_inference()
    assert not fast.training
    assert not any(node.operator == "BatchNormalization" for node in fast.graph.nodes)
    assert not any(parameter.requires_grad for parameter in fast.parameters())
    images = images_for(spec, batch=2).double()
    with torch.no_grad():
        maps = fast(images)
        assert network.training
        for own, theirs in zip(network.eval()(images), maps, strict=True):
            torch.testing.assert_close(theirs, own, rtol=1e-9, atol=1e-9 * float(own.abs().max()))
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, before[name])


def test_the_copy_for_inference_is_as_exact_as_float32_allows() -> None:
    spec = NETWORKS["yolov3-tiny"](classes=3, width=0.25, size=(96, 128))
    state = random_state(spec, 1, torch.float32)
    exact = {i: ConvParameters(**{n: t.double() for n, t in p.items()}) for i, p in state.items()}
    images = images_for(spec)
    with torch.no_grad():
        wanted = network_of(spec, exact)(images.double())
        maps = network_of(spec, state).for_inference()(images)
        for own, right in zip(maps, wanted, strict=True):
            assert own.dtype == torch.float32
            assert (own - right).abs().max() < 1e-5 * right.abs().max()


@pytest.mark.parametrize(
    ("name", "width", "size"),
    [
        ("yolov3", 0.125, (96, 64)),
        ("yolov3-spp", 0.125, (64, 96)),
        ("yolov3-tiny", 1.0, (96, 128)),
        ("yolov2", 0.25, (128, 96)),
        ("yolov4", 0.125, (96, 64)),
        ("yolov4-tiny", 1.0, (96, 128)),
        ("yolov4-csp", 0.125, (64, 96)),
        ("yolov7", 0.125, (96, 64)),
        ("yolov7-tiny", 0.5, (64, 96)),
    ],
)
def test_whole_networks_agree_with_opencv(name, width, size, tmp_path):
    spec = BUILDERS[name](classes=2, width=width, size=size)
    state = random_state(spec, 2, torch.float32)
    images = images_for(spec)
    with torch.no_grad():
        ours = network_of(spec, state)(images)
    theirs = opencv_maps(tmp_path, spec, state, images)
    assert len(ours) == len(theirs) == len(spec.heads)
    for our, their in zip(ours, theirs, strict=True):
        assert our.shape == their.shape
        assert np.abs(our.numpy() - their).max() <= 1e-3 * np.abs(their).max()


@settings(max_examples=20)
@given(network_specs())
def test_state_in_is_state_out(spec):
    state = random_state(spec)
    network = network_of(spec, state)
    assert not network.training
    given = parameters(state)
    found = network.state()
    assert found.keys() == given.keys()
    for name, tensor in found.items():
        assert tensor.dtype == torch.float64
        assert torch.equal(tensor, given[name])


def small() -> NetworkSpec:
    return NETWORKS["yolov3-tiny"](classes=1, width=0.125, size=(32, 64))


def test_states_that_do_not_fit_are_refused():
    spec = small()
    state = random_state(spec)
    del state[2]
    with pytest.raises(WeightsError, match=r"layers \[2\] differ"):
        network_of(spec, state)
    state = random_state(spec)
    state[0] = replace(state[0], kernel=state[0].kernel[:1])
    with pytest.raises(WeightsError, match="layer 0: the cfg needs"):
        network_of(spec, state)


def test_a_batch_is_its_images_one_by_one():
    spec = small()
    network = network_of(spec, random_state(spec))
    images = images_for(spec, 3).double()
    with torch.no_grad():
        together = network(images)
        alone = [network(images[i : i + 1]) for i in range(3)]
    for head, maps in enumerate(together):
        expected = torch.cat([outputs[head] for outputs in alone])
        torch.testing.assert_close(maps, expected, rtol=1e-12, atol=1e-12)


def test_other_input_sizes_run_with_the_same_parameters():
    spec = small()
    network = network_of(spec, random_state(spec))
    with torch.no_grad():
        first, second = network(torch.rand(1, 3, 64, 96, dtype=torch.float64))
    assert (first.shape, second.shape) == ((1, 18, 2, 3), (1, 18, 4, 6))


def test_without_a_head_the_last_layer_is_the_output():
    spec = parse_cfg(
        "[net]\nchannels=3\nheight=8\nwidth=8\n[convolutional]\nfilters=4\n[avgpool]\n"
    )
    (output,) = network_of(spec, random_state(spec))(torch.rand(1, 3, 8, 8, dtype=torch.float64))
    assert output.shape == (1, 4, 1, 1)


def test_unread_layers_between_do_not_disturb():
    spec = parse_cfg(
        "[net]\nchannels=3\nheight=8\nwidth=8\n[convolutional]\nfilters=4\n"
        "[convolutional]\nfilters=6\n[route]\nlayers=0\n"
    )
    (output,) = network_of(spec, random_state(spec))(torch.rand(1, 3, 8, 8, dtype=torch.float64))
    assert output.shape == (1, 4, 8, 8)


def test_every_parameter_gets_a_gradient():
    spec = small()
    network = network_of(spec, random_state(spec)).train()
    outputs = network(images_for(spec, 2).double())
    sum(output.square().mean() for output in outputs).backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name


def test_dropout_drops_where_it_is_trained():
    spec = parse_cfg(
        "[net]\nchannels=1\nheight=40\nwidth=40\n[convolutional]\nfilters=1\nactivation=linear\n"
        "[dropout]\nprobability=.25\n"
    )
    state = random_state(spec, 1, torch.float32)
    images = torch.rand(1, 1, 40, 40)
    torch.manual_seed(0)
    with torch.no_grad():
        (whole,) = network_of(spec, state)(images)
        network = Network(lower(spec, trained=True), parameters(state))
        assert torch.equal(network(images)[0], whole)
        (dropped,) = network.train()(images)
    gone = dropped == 0
    assert gone.float().mean() == pytest.approx(0.25, abs=0.05)
    torch.testing.assert_close(dropped[~gone], whole[~gone] / 0.75)


@pytest.mark.parametrize("kind", ["reorg", "reorg3d"])
@pytest.mark.parametrize("size", [(8, 8), (24, 8), (16, 32)])
def test_what_is_trained_reads_images_of_any_size(kind: str, size: tuple[int, int]) -> None:
    spec = parse_cfg(
        "[net]\nchannels=2\nheight=8\nwidth=8\n[convolutional]\nfilters=12\nstride=2\n"
        f"[{kind}]\nstride=2\n[upsample]\nstride=2\n"
    )
    state = random_state(spec)
    images = torch.rand(2, 2, *size, dtype=torch.float64)
    with torch.no_grad():
        (found,) = Network(lower(spec, trained=True), parameters(state))(images)
        (expected,) = network_of(with_input_size(spec, *size), state)(images)
    assert torch.equal(found, expected)
