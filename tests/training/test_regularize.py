"""The proximal step of the group lasso: exact zeros, whole channels, the closed form."""

import pytest
import torch

from tests.networks import network_of
from tests.random_networks import random_state
from yoloprune.execution.module import Network
from yoloprune.frontends.darknet.parser import parse_cfg
from yoloprune.frontends.darknet.zoo import yolov3
from yoloprune.training.regularize import coupled_scales, shrink, typical_scale, zero_share

SPEC = yolov3(classes=1, width=0.0625, size=(64, 64))


def network() -> Network:
    return network_of(SPEC, random_state(SPEC, 1, torch.float32))


def test_every_prunable_group_is_there_with_all_its_producers() -> None:
    groups = coupled_scales(network())
    assert len(groups) == 49
    assert [len(g.parameters) for g in groups if len(g.parameters) > 1] == [2, 3, 9, 9, 5]


def test_the_proximal_step_has_its_closed_form() -> None:
    net = network()
    groups = coupled_scales(net)
    coupled = next(g for g in groups if len(g.parameters) == 3)
    before = torch.stack(
        [p.detach()[f] for p, f in zip(coupled.parameters, coupled.filters, strict=True)]
    )
    shrink(groups, 0.1)
    after = torch.stack(
        [p.detach()[f] for p, f in zip(coupled.parameters, coupled.filters, strict=True)]
    )
    length = before.norm(dim=0)
    expected = before * (1 - 0.1 * 3**0.5 / length).clamp(min=0)
    torch.testing.assert_close(after, expected)


def test_a_short_vector_becomes_exactly_zero_in_all_producers() -> None:
    net = network()
    groups = coupled_scales(net)
    coupled = next(g for g in groups if len(g.parameters) == 9)
    with torch.no_grad():
        for parameter, filters in zip(coupled.parameters, coupled.filters, strict=True):
            parameter[filters[0]] = 0.01
    assert zero_share(groups) == 0
    shrink(groups, 0.02)
    assert all(p[f[0]] == 0 for p, f in zip(coupled.parameters, coupled.filters, strict=True))
    assert zero_share(groups) == pytest.approx(1 / sum(len(g.filters[0]) for g in groups))


def test_enough_shrinking_kills_everything() -> None:
    net = network()
    groups = coupled_scales(net)
    assert 0.5 < typical_scale(groups) < 1.5
    shrink(groups, 10.0)
    assert zero_share(groups) == 1.0
    # Frozen producers keep their scales: heads are not touched.
    assert net.array("layer_0.scale").abs().max() == 0


def test_groups_without_batch_norm_are_left_alone() -> None:
    spec = parse_cfg(
        "[net]\nheight=8\nwidth=8\nchannels=3\n[convolutional]\nfilters=4\nactivation=leaky\n"
        "[convolutional]\nfilters=2\nactivation=linear\n"
    )
    assert coupled_scales(network_of(spec, random_state(spec))) == []
