"""Distillation: closer to the dense network, never further, the same bytes after any stop."""

from collections.abc import Generator
from pathlib import Path

import pytest
import torch
from torch import Tensor

from yoloprune.errors import CheckpointError, UsageError
from yoloprune.execution.module import Network
from yoloprune.frontends.darknet.curvature import divergences
from yoloprune.frontends.darknet.document import model
from yoloprune.frontends.darknet.initialization import random_state
from yoloprune.frontends.darknet.zoo import yolov3_tiny
from yoloprune.pruning.recover.matching import Matching
from yoloprune.training.engine import InterruptedRunError
from yoloprune.training.imitation import AWAY, Imitated, ImitationConfig, imitate, steps_of
from yoloprune.workflows.cut import Cut
from yoloprune.workflows.prune import prune

SPEC = yolov3_tiny(classes=1, width=0.125, size=(32, 32))
CONFIG = ImitationConfig(steps=24, batch_size=2, learning_rate=3e-3)


def batch(number: int) -> Tensor:
    return torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(number))


def samples(first: int) -> Generator[Tensor, None, None]:
    for number in range(first, 1000):
        yield batch(number)


HELD_OUT = [batch(5000), batch(5001)]


@pytest.fixture(scope="module")
def cut() -> Cut:
    return prune(model(SPEC, random_state(SPEC, seed=1), title="dense"), {"macs": 0.6})


def matching(cut: Cut) -> Matching:
    dense, slim = (Network(each.graph, each.parameters) for each in (cut.dense, cut.slim))
    return Matching(dense, slim, HELD_OUT, divergences(SPEC))


def same(a: Imitated, b: Imitated) -> bool:
    return a.curve == b.curve and all(
        torch.equal(a.parameters[name], b.parameters[name]) for name in a.parameters
    )


def test_the_network_comes_closer_and_batch_norms_keep_their_statistics(cut: Cut) -> None:
    found = imitate(matching(cut), samples, HELD_OUT, CONFIG)
    assert found.curve[0] == (0, pytest.approx(1)) and found.curve[-1][0] == 24
    assert min(share for _, share in found.curve) < 0.9
    for node in cut.slim.graph.nodes:
        if node.operator == "BatchNormalization":
            for name in node.inputs[3:5]:
                assert torch.equal(found.parameters[name], cut.slim.parameters[name])


def test_what_only_goes_away_ends_where_it_began(cut: Cut) -> None:
    wild = ImitationConfig(steps=6, batch_size=2, learning_rate=1e4, ema_decay=0.0)
    found = imitate(matching(cut), samples, HELD_OUT, wild)
    assert min(found.curve, key=lambda point: point[1]) == found.curve[0]
    for name, array in found.parameters.items():
        assert torch.equal(array, cut.slim.parameters[name])


def test_a_rate_that_is_too_high_is_halved_from_the_closest_on(cut: Cut) -> None:
    config = ImitationConfig(steps=40, batch_size=2, learning_rate=0.1)
    shares = [share for _, share in imitate(matching(cut), samples, HELD_OUT, config).curve]
    # It goes away at first, and in the end comes closer than it began.
    assert max(shares[:4]) > AWAY and shares[-1] < 1


def test_a_stopped_run_ends_with_the_same_bytes(cut: Cut, tmp_path: Path) -> None:
    whole = imitate(matching(cut), samples, HELD_OUT, CONFIG)
    for at in (0, 7, 22):
        asked = iter(range(100))
        path = tmp_path / f"{at}.pt"
        with pytest.raises(InterruptedRunError):
            imitate(
                matching(cut), samples, HELD_OUT, CONFIG, checkpoint=path,
                stop=lambda asked=asked, at=at: next(asked) == at,
            )  # fmt: skip
        assert steps_of(path, matching(cut).slim) == 24
        assert same(imitate(matching(cut), samples, HELD_OUT, CONFIG, checkpoint=path), whole)


def test_checkpoints_that_do_not_fit_are_refused(cut: Cut, tmp_path: Path) -> None:
    path = tmp_path / "run.pt"
    short = ImitationConfig(steps=1, batch_size=2)
    imitate(matching(cut), samples, HELD_OUT, short, checkpoint=path, inputs="a")
    for config, inputs in ((CONFIG, "a"), (short, "b")):
        with pytest.raises(CheckpointError, match="other settings"):
            imitate(matching(cut), samples, HELD_OUT, config, checkpoint=path, inputs=inputs)
    path.write_bytes(path.read_bytes()[:-50])
    for read in (lambda: steps_of(path, matching(cut).slim), lambda: imitate(
        matching(cut), samples, HELD_OUT, short, checkpoint=path, inputs="a"
    )):  # fmt: skip
        with pytest.raises(CheckpointError, match="damaged"):
            read()
    with pytest.raises(UsageError, match="steps must be at least 1, not 0"):
        ImitationConfig(steps=0)
