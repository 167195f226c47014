"""Cost of a network, counted again by hand and by the torch model."""

import pytest
import torch
from hypothesis import given, settings
from torch.utils.flop_counter import FlopCounterMode

from tests.architectures import ARCHITECTURES
from tests.networks import network_of
from tests.random_networks import network_specs, random_state
from yoloprune.frontends.darknet.cost import cost
from yoloprune.frontends.darknet.parser import parse_cfg
from yoloprune.frontends.darknet.weights import write_weights
from yoloprune.frontends.darknet.zoo import NETWORKS


def test_two_layers_by_hand():
    spec = parse_cfg(
        "[net]\nchannels=3\nheight=8\nwidth=6\n"
        "[convolutional]\nbatch_normalize=1\nfilters=4\nsize=3\nstride=2\npad=1\n"
        "[convolutional]\nfilters=6\nsize=1\ngroups=2\n"
    )
    found = cost(spec)
    first, second = found.per_layer
    assert (first.params, first.floats, first.macs) == (108 + 8, 108 + 16, 108 * 12)
    assert (second.params, second.floats, second.macs) == (12 + 6, 12 + 6, 12 * 12)
    assert (first.in_channels, second.in_channels) == (3, 4)
    assert (first.out_shape, second.out_shape) == ((4, 4, 3), (6, 4, 3))
    assert (found.params, found.macs, found.channels) == (134, 1440, 10)
    assert found.weight_bytes == 20 + 4 * (124 + 18)
    assert found.flops == 2880


@pytest.mark.parametrize("name", NETWORKS | ARCHITECTURES)
def test_operations_and_parameters_are_those_of_the_torch_model(name):
    spec = (NETWORKS | ARCHITECTURES)[name](width=0.25, size=(64, 96))
    network = network_of(spec, random_state(spec)).to("meta")
    with FlopCounterMode(display=False) as counter:
        network(torch.empty(1, *spec.input_shape, dtype=torch.float64, device="meta"))
    assert cost(spec).flops == counter.get_total_flops()
    assert cost(spec).params == sum(p.numel() for p in network.parameters())


@settings(max_examples=25, deadline=None)
@given(network_specs())
def test_random_networks_too(spec):
    network = network_of(spec, random_state(spec)).to("meta")
    with FlopCounterMode(display=False) as counter:
        network(torch.empty(1, *spec.input_shape, dtype=torch.float64, device="meta"))
    found = cost(spec)
    assert found.flops == counter.get_total_flops()
    assert found.params == sum(p.numel() for p in network.parameters())
    assert found.channels == sum(conv.filters for conv in spec.convs)


def test_weight_bytes_are_the_size_of_the_file(tmp_path):
    spec = NETWORKS["yolov3-tiny"](width=0.125)
    path = tmp_path / "a.weights"
    write_weights(path, spec, random_state(spec, dtype=torch.float32))
    assert path.stat().st_size == cost(spec).weight_bytes
