"""Darknet networks as graphs: they compute what the networks compute, bit for bit but rounding."""

from typing import get_args

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.architectures import ARCHITECTURES
from tests.onnx_reference import evaluator, outputs_of
from tests.random_networks import BLOCKS, network_specs, random_state
from yoloprune.errors import CfgError
from yoloprune.exporters.interface import is_decodable
from yoloprune.frontends.darknet import options
from yoloprune.frontends.darknet import spec as spec_module
from yoloprune.frontends.darknet.activations import ACTIVATIONS
from yoloprune.frontends.darknet.lower import lower, parameters
from yoloprune.frontends.darknet.parser import parse_cfg
from yoloprune.frontends.darknet.spec import AnyLayer, Layer, MaxPool, NetworkSpec
from yoloprune.frontends.darknet.zoo import NETWORKS

BUILDERS = NETWORKS | ARCHITECTURES

TWO_CONVS = """[net]
height=6
width=8
channels=2
[convolutional]
batch_normalize=1
filters=4
size=3
pad=1
activation={first}
[convolutional]
filters=3
size=1
activation=linear
"""


def assert_exact(spec: NetworkSpec, *, decoded: bool, count: int = 1) -> None:
    """The graph, in ONNX's reference, gives what our network gives, both in float64."""
    state = random_state(spec, 3)
    generator = torch.Generator().manual_seed(1)
    images = torch.rand(count, *spec.input_shape, generator=generator, dtype=torch.float64)
    found = evaluator(spec, state, decoded=decoded).run(None, {"images": images.numpy()})
    expected = outputs_of(spec, state, images, decoded=decoded)
    for ours, theirs in zip(expected, found, strict=True):
        assert theirs.dtype == np.float64 and theirs.shape == ours.shape
        assert np.abs(theirs - ours).max() <= 1e-12 * np.abs(ours).max()


@pytest.mark.parametrize("decoded", [False, True])
@pytest.mark.parametrize("name", BUILDERS)
def test_architectures_are_lowered_exactly(name: str, decoded: bool) -> None:
    assert_exact(BUILDERS[name](classes=2, width=0.0625, size=(32, 64)), decoded=decoded)


@pytest.mark.parametrize("block", BLOCKS)
@settings(
    max_examples=6,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(data=st.data())
def test_every_kind_of_layer_is_lowered_exactly(block: str, data: st.DataObject) -> None:
    spec = data.draw(network_specs(blocks=(block,), max_blocks=3))
    assert_exact(spec, decoded=is_decodable(spec) and data.draw(st.booleans()), count=2)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_are_lowered_exactly(name: str) -> None:
    spec = parse_cfg(
        "[net]\nheight=1\nwidth=801\nchannels=1\n"
        f"[convolutional]\nfilters=1\nsize=1\nactivation={name}\n"
    )
    state = random_state(spec)
    state[0].kernel.fill_(1.0)
    state[0].bias.fill_(0.0)
    # All pieces of those that have pieces, and where they meet.
    images = torch.linspace(-8, 8, 801, dtype=torch.float64).reshape(1, 1, 1, 801)
    (found,) = evaluator(spec, state, decoded=False).run(None, {"images": images.numpy()})
    np.testing.assert_allclose(
        found, outputs_of(spec, state, images, decoded=False)[0], rtol=0, atol=1e-14
    )


def test_the_tables_are_complete() -> None:
    assert ACTIVATIONS.keys() == options.ACTIVATIONS

    layers = [v for v in vars(spec_module).values() if isinstance(v, type) and issubclass(v, Layer)]
    leaves = {kind for kind in layers if sum(issubclass(other, kind) for other in layers) == 1}
    # What mypy is told that there is: every `match` that ends in `assert_never` is held to it.
    assert set(get_args(AnyLayer)) == leaves


def test_names_are_those_of_layers_and_stay() -> None:
    spec = parse_cfg(TWO_CONVS.format(first="mish"))
    graph = lower(spec)
    assert [node.name for node in graph.nodes] == [
        "layer_0.conv",
        "layer_0.norm",
        "layer_0.mish.softplus",
        "layer_0.mish.tanh",
        "layer_0.mish",
        "layer_1.conv",
        "output",
    ]
    assert {name: given.shape for name, given in graph.parameters.items()} == {
        "layer_0.kernel": (4, 2, 3, 3),
        "layer_0.scale": (4,),
        "layer_0.bias": (4,),
        "layer_0.mean": (4,),
        "layer_0.variance": (4,),
        "layer_1.kernel": (3, 4, 1, 1),
        "layer_1.bias": (3,),
    }
    state = random_state(spec)
    assert parameters(state)["layer_0.mean"] is state[0].mean
    assert graph.digest() == lower(spec).digest() != lower(spec, batch=1).digest()
    assert graph.digest() != lower(parse_cfg(TWO_CONVS.format(first="swish"))).digest()


@pytest.mark.parametrize("name", BUILDERS)
def test_max_pools_carry_their_own_pads(name: str) -> None:
    spec = BUILDERS[name](classes=2, width=0.0625, size=(32, 64))
    nodes = {node.name: node for node in lower(spec).nodes}
    assert "Pad" not in {node.operator for node in nodes.values()}
    for layer in spec.layers:
        if isinstance(layer, MaxPool):
            top, left, bottom, right = nodes[f"layer_{layer.index}.pool"].attributes["pads"]
            assert (top, bottom) == (left, right) == (layer.padding // 2, -(-layer.padding // 2))


def test_what_has_no_boxes_is_not_decoded() -> None:
    with pytest.raises(CfgError, match="no detection head"):
        lower(parse_cfg(TWO_CONVS.format(first="leaky")), decoded=True)
