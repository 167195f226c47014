"""The walk over shapes, against hand counts and the torch model's actual outputs."""

import pytest
import torch
from hypothesis import given, settings

from tests.architectures import ARCHITECTURES
from tests.networks import layer_outputs, layer_values, network_of
from tests.random_networks import network_specs, random_state
from yoloprune.frontends.darknet.lower import lower
from yoloprune.frontends.darknet.parser import parse_cfg
from yoloprune.frontends.darknet.shapes import layer_shapes, source_shapes
from yoloprune.frontends.darknet.zoo import NETWORKS
from yoloprune.graph.shapes import facts

NET = "[net]\nchannels=3\nheight=14\nwidth=11\n"


def shapes_of(*sections: str) -> list[tuple[int, int, int]]:
    return list(layer_shapes(parse_cfg(NET + "".join(sections))))


@settings(max_examples=100)
@given(network_specs())
def test_random_networks_give_the_shapes_that_were_derived(spec):
    """Every generated network runs, and its values stay fit for comparisons at tight tolerances."""
    images = torch.rand(1, *spec.input_shape, dtype=torch.float64)
    state = random_state(spec)
    found = layer_outputs(spec, state, images)
    assert all(output.isfinite().all() for output in found)
    assert tuple(tuple(output.shape[1:]) for output in found) == layer_shapes(spec)
    with torch.no_grad():
        outputs = network_of(spec, state)(images)
    assert len(outputs) == max(1, len(spec.heads))
    for output in outputs:
        assert output.dtype == torch.float64
        assert output.abs().max() < 1e4


@pytest.mark.parametrize("name", NETWORKS | ARCHITECTURES)
def test_architectures_give_the_shapes_that_were_derived(name):
    spec = (NETWORKS | ARCHITECTURES)[name](width=0.25, size=(160, 96))
    graph = lower(spec)
    shapes = facts(graph).shapes
    assert tuple(shapes[name][1:] for name in layer_values(spec, graph)) == layer_shapes(spec)


def test_random_states_repeat():
    spec = NETWORKS["yolov3-tiny"](width=0.125)
    first, second, other = (random_state(spec, seed) for seed in (1, 1, 2))
    for index in first:
        for (_, a), (_, b), (_, c) in zip(
            first[index].items(), second[index].items(), other[index].items(), strict=True
        ):
            assert torch.equal(a, b)
            assert not torch.equal(a, c)


@pytest.mark.parametrize(
    ("section", "shape"),
    [
        ("[convolutional]\nfilters=5\nsize=3\npad=1\n", (5, 14, 11)),
        ("[convolutional]\nfilters=5\nsize=3\nstride=2\npad=1\n", (5, 7, 6)),
        ("[convolutional]\nfilters=5\nsize=3\n", (5, 12, 9)),
        ("[convolutional]\nfilters=5\nsize=2\nstride=2\npad=1\n", (5, 8, 6)),
        ("[convolutional]\nfilters=5\nsize=3\npad=1\ndilation=2\n", (5, 14, 11)),
        ("[convolutional]\nfilters=5\nsize=5\npad=1\ndilation=3\nstride=2\n", (5, 7, 6)),
        ("[convolutional]\nfilters=5\nsize=3\npad=1\nstride_x=3\n", (5, 14, 4)),
        ("[maxpool]\nsize=2\nstride=2\n", (4, 7, 6)),
        ("[maxpool]\nsize=2\nstride=1\n", (4, 14, 11)),
        ("[maxpool]\nsize=3\nstride=2\npadding=0\n", (4, 6, 5)),
        ("[maxpool]\nsize=13\nstride=1\n", (4, 14, 11)),
        ("[upsample]\nstride=3\n", (4, 42, 33)),
        ("[avgpool]\n", (4, 1, 1)),
        ("[dropout]\n", (4, 14, 11)),
        ("[route]\nlayers=0,0,-1\n", (12, 14, 11)),
        ("[route]\nlayers=0,-1\ngroups=2\ngroup_id=1\n", (4, 14, 11)),
        ("[reorg]\nstride=1\n", (4, 14, 11)),
    ],
)
def test_shapes_by_hand(section, shape):
    assert shapes_of("[convolutional]\nfilters=4\n", section)[1] == shape


def test_shortcut_has_the_width_of_the_previous_layer():
    narrow, wide = "[convolutional]\nfilters=4\n", "[convolutional]\nfilters=9\n"
    assert shapes_of(narrow, wide, "[shortcut]\nfrom=0\n")[2] == (9, 14, 11)
    assert shapes_of(wide, narrow, "[shortcut]\nfrom=0\n")[2] == (4, 14, 11)


def test_source_shapes_include_the_image():
    spec = parse_cfg(NET + "[convolutional]\nfilters=4\n[route]\nlayers=0\n")
    shapes = layer_shapes(spec)
    assert source_shapes(spec.layers[0], spec, shapes) == [(3, 14, 11)]
    assert source_shapes(spec.layers[1], spec, shapes) == [(4, 14, 11)]
