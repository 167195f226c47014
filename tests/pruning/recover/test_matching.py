"""How far two networks are apart: one where the comparison began, nothing where they agree."""

import pytest
import torch
from torch.distributions import Bernoulli, kl_divergence

from tests.networks import network_of
from yoloprune.execution.module import Network
from yoloprune.frontends.darknet.curvature import BOXES, divergences
from yoloprune.frontends.darknet.document import model
from yoloprune.frontends.darknet.initialization import random_state
from yoloprune.frontends.darknet.zoo import yolov3_tiny
from yoloprune.pruning.groups import analyze
from yoloprune.pruning.recover.matching import Matching
from yoloprune.workflows.cut import Cut
from yoloprune.workflows.prune import prune

SPEC = yolov3_tiny(classes=2, width=0.125, size=(64, 64))
IMAGES = torch.rand(4, 3, 64, 64, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def cut() -> Cut:
    return prune(model(SPEC, random_state(SPEC, seed=1), title="dense"), {"macs": 0.6})


def matching(cut: Cut, *, known: bool = True) -> Matching:
    networks = (
        Network(cut.dense.graph, cut.dense.parameters),
        Network(cut.slim.graph, cut.slim.parameters),
    )
    told = divergences(SPEC) if known else {}
    return Matching(analyze(cut.dense.graph), cut.plan, networks, [IMAGES], told)


@pytest.mark.parametrize("known", [True, False])
def test_the_distance_is_one_where_it_began_and_none_to_itself(cut: Cut, known: bool) -> None:
    with torch.no_grad():
        start = matching(cut, known=known).distances(IMAGES)
    assert float(start.outputs) == pytest.approx(1) and float(start.features) == pytest.approx(1)
    whole = prune(cut.dense, {"macs": 1.0})
    with torch.no_grad():
        same = matching(whole, known=known).distances(IMAGES)
    assert float(same.outputs) == pytest.approx(0, abs=1e-6)
    assert float(same.features) == pytest.approx(0, abs=1e-6)


def test_masked_channels_cost_what_slim_ones_do(cut: Cut) -> None:
    found = matching(cut)
    share = float(found.outputs_alone(found.slim, IMAGES, found.wanted(IMAGES)))
    assert share == pytest.approx(1)
    torch.autograd.backward(found.distances(IMAGES).features)
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in found.slim.parameters())
    assert all(p.grad is None for p in found.dense.parameters())


def test_a_heads_divergence_is_that_of_its_probabilities() -> None:
    generator = torch.Generator().manual_seed(0)
    network = network_of(SPEC, random_state(SPEC, seed=1))
    (name, divergence), *_ = divergences(SPEC).items()
    place = list(network.graph.outputs).index(name)
    teacher = network(IMAGES)[place].detach()
    student = teacher + torch.randn(teacher.shape, generator=generator)
    ours, theirs = (m.reshape(4, 3, 7, *m.shape[2:]).double() for m in (student, teacher))
    apart = kl_divergence(Bernoulli(logits=theirs[:, :, 4:]), Bernoulli(logits=ours[:, :, 4:]))
    belief = theirs[:, :, 4].sigmoid()
    boxes = (ours[:, :, :2].sigmoid() - theirs[:, :, :2].sigmoid()).square().sum(dim=2)
    boxes += (ours[:, :, 2:4] - theirs[:, :, 2:4]).square().sum(dim=2)
    expected = apart[:, :, 0] + belief * (apart[:, :, 1:].sum(dim=2) + BOXES * boxes)
    assert float(divergence(student, teacher)) == pytest.approx(float(expected.sum()), rel=1e-4)
    assert float(divergence(teacher, teacher)) == 0
