"""Scores keep their meaning: what a known change of the heads took is given back."""

import pytest
import torch
from torch import Tensor

from tests.pruning.recover.detectors import NOISE, detector
from yoloprune.execution.module import Network
from yoloprune.graph.graph import Graph
from yoloprune.pruning.recover.confidence import Line, with_confidences


def fainter(parameters: dict[str, Tensor]) -> dict[str, Tensor]:
    """Objectness of logits .8 t - 1, classes of .7 t + (0 or, without shares, whatever)."""
    return parameters | {
        "sure.kernel": 0.8 * parameters["sure.kernel"],
        "sure.bias": 0.8 * parameters["sure.bias"] - 1,
        "kind.scale": 0.7 * parameters["kind.scale"],
        "kind.shift": 0.7 * parameters["kind.shift"],
    }


def scores(graph: Graph, parameters: dict[str, Tensor]) -> Tensor:
    with torch.no_grad():
        (out,) = Network(graph, parameters)(NOISE)
    return out[..., 2] * out[..., 3:].amax(dim=-1)


@pytest.mark.parametrize("shares", [True, False])
def test_what_became_fainter_scores_as_it_did(
    shares: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("yoloprune.pruning.recover.confidence.DOUBT", 0.0)
    graph, dense, asked = detector(shares=shares)
    slim = fainter(dense)
    found = with_confidences((graph, dense), (graph, slim), NOISE, asked)
    assert found.arrays.keys() == {"sure.kernel", "sure.bias", "kind.scale", "kind.shift"}
    ((sure,), (kind,)) = found.lines["sure"], found.lines["kind"]
    assert (sure.slope, sure.offset) == pytest.approx((1 / 0.8, 1 / 0.8), rel=1e-3)
    assert kind.slope == pytest.approx(1 / 0.7, rel=0.02)
    wanted, given = scores(graph, dense), scores(graph, slim | found.arrays)
    assert float((given - wanted).abs().max()) < 0.02
    assert (scores(graph, slim) > 0.25).sum() < 0.8 * (wanted > 0.25).sum()


def test_noise_makes_places_differ_and_not_how_many_are_sure() -> None:
    graph, dense, asked = detector(shares=False)
    generator = torch.Generator().manual_seed(2)
    slim = {
        name: array + 0.3 * torch.randn(array.shape, generator=generator)
        if name in ("sure.kernel", "kind.kernel")
        else array
        for name, array in fainter(dense).items()
    }
    found = with_confidences((graph, dense), (graph, slim), NOISE, asked)
    wanted = int((scores(graph, dense) > 0.25).sum())
    before = int((scores(graph, slim) > 0.25).sum())
    after = int((scores(graph, slim | found.arrays) > 0.25).sum())
    assert abs(after - wanted) < 0.25 * abs(before - wanted)


def test_what_is_the_same_and_what_says_nothing_stays() -> None:
    graph, dense, asked = detector(shares=False)
    same = with_confidences((graph, dense), (graph, dense), NOISE, asked)
    for lines in same.lines.values():
        assert all((o.slope, o.offset) == pytest.approx((1, 0), abs=1e-6) for o in lines)
    assert with_confidences((graph, dense), (graph, dense), NOISE, {}).arrays == {}
    # Nothing is ever seen: there is nothing to go by.
    silent = dense | {"sure.bias": torch.tensor([-60.0])}
    found = with_confidences((graph, silent), (graph, fainter(silent)), NOISE, asked)
    assert found.lines == {"sure": (Line(),), "kind": (Line(),)}
