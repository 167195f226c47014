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
from yoloprune.pruning.recover.matching import Matching
from yoloprune.workflows.cut import Cut
from yoloprune.workflows.prune import prune

SPEC = yolov3_tiny(classes=2, width=0.125, size=(64, 64))
IMAGES = torch.rand(4, 3, 64, 64, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def cut() -> Cut:
    return prune(model(SPEC, random_state(SPEC, seed=1), title="dense"), {"macs": 0.6})


def matching(cut: Cut, *, known: bool = True, bfloat16: bool = False) -> Matching:
    dense, slim = (Network(each.graph, each.parameters) for each in (cut.dense, cut.slim))
    return Matching(dense, slim, [IMAGES], divergences(SPEC) if known else {}, bfloat16=bfloat16)


@pytest.mark.parametrize("known", [True, False])
def test_the_distance_is_one_where_it_began_and_none_to_itself(cut: Cut, known: bool) -> None:
    found = matching(cut, known=known)
    assert float(found.distance(IMAGES).detach()) == pytest.approx(1)
    assert found.share_left(found.slim, [IMAGES]) == pytest.approx(1)
    same = matching(prune(cut.dense, {"macs": 1.0}), known=known)
    assert float(same.distance(IMAGES).detach()) == pytest.approx(0, abs=1e-6)


def test_gradients_are_those_through_batch_norms(cut: Cut) -> None:
    found = matching(cut)
    torch.autograd.backward(found.distance(IMAGES))
    plain = Network(cut.slim.graph, cut.slim.parameters)
    wanted = found.wanted(IMAGES)
    given = dict(zip(plain.graph.outputs, plain(IMAGES), strict=True))
    apart = sum(own(given[name], wanted[name]) for name, own in divergences(SPEC).items())
    torch.autograd.backward(apart / apart.detach())
    for name in cut.slim.graph.parameters:
        folded, own = found.slim.array(name).grad, plain.array(name).grad
        if own is not None:
            assert folded is not None
            assert torch.allclose(folded, own, rtol=1e-3, atol=1e-3 * float(own.abs().max()))


def test_in_bfloat16_it_is_the_same_to_rounding(cut: Cut) -> None:
    found = matching(cut, bfloat16=True)
    assert float(found.distance(IMAGES).detach()) == pytest.approx(1, abs=0.1)
    # What runs are judged by is not rounded.
    assert found.share_left(found.slim, [IMAGES]) == pytest.approx(1)
    torch.autograd.backward(found.distance(IMAGES))
    assert all(p.grad is None or p.grad.isfinite().all() for p in found.slim.parameters())


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
