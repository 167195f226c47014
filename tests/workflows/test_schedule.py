"""The loop's decisions, with functions that do next to nothing."""

import pytest
import torch

from tests.random_networks import random_state
from yoloprune.errors import UsageError
from yoloprune.frontends.darknet.cost import cost
from yoloprune.frontends.darknet.document import darknet, model
from yoloprune.frontends.darknet.zoo import yolov3_tiny
from yoloprune.graph.model import Model
from yoloprune.pruning.budget import Budget
from yoloprune.pruning.prune import prune
from yoloprune.workflows.choices import Schedule
from yoloprune.workflows.schedule import Limit, follow, step_targets

SPEC = yolov3_tiny(classes=1, width=0.25, size=(64, 64))
DENSE = model(SPEC, random_state(SPEC, 1, torch.float32), title="dense")


def prune_to(network: Model, share: float, step: int) -> Model:
    budget = Budget(limits={"macs": min(1.0, share / share_of_macs(network))})
    return network.edited(prune(network.graph, network.parameters, budget=budget).edits)


def leave(network: Model, step: int) -> Model:
    return network


def share_of_macs(network: Model, step: int = 0) -> float:
    return cost(darknet(network).spec).macs / cost(SPEC).macs


def test_every_step_meets_its_share_of_the_dense_network() -> None:
    networks = list(
        follow(DENSE, step=0.2, keep=0.3, prune=prune_to, kept=share_of_macs, finetune=leave,
                evaluate=share_of_macs)
    )  # fmt: skip
    assert [n.step for n in networks] == [0, 1, 2, 3, 4]
    for network, target in zip(networks, (1.0, 0.8, 0.6, 0.4, 0.3), strict=True):
        assert target - 0.03 <= network.kept <= target
        assert network.accuracy == network.kept


def test_it_stops_under_the_floor() -> None:
    networks = list(
        follow(DENSE, step=0.2, keep=0.2, prune=prune_to, kept=share_of_macs, finetune=leave,
                evaluate=share_of_macs, limit=Limit(floor=0.5))
    )  # fmt: skip
    assert [n.accuracy >= 0.5 for n in networks] == [True, True, True, False]


def test_a_dense_network_under_the_floor_is_not_pruned() -> None:
    def never(*_: object) -> Model:
        raise AssertionError

    (dense,) = follow(DENSE, step=0.2, keep=0.2, prune=never, kept=share_of_macs,
                       finetune=never, evaluate=share_of_macs, limit=Limit(floor=1.5))  # fmt: skip
    assert dense.step == 0 and dense.accuracy == 1.0


def test_the_last_good_network_is_the_one_before_the_bad_one() -> None:
    accuracies = [0.9, 0.8, 0.7, 0.95]
    networks = list(
        follow(DENSE, step=0.2, keep=0.4, prune=prune_to, kept=share_of_macs, finetune=leave,
                evaluate=lambda network, step: accuracies[step], limit=Limit(floor=0.75))
    )  # fmt: skip
    assert [n.accuracy for n in networks] == [0.9, 0.8, 0.7]
    assert networks[1].model.graph.digest() != networks[2].model.graph.digest()


@pytest.mark.parametrize(
    ("step", "target", "expected"),
    [(0.05, 0.9, [0.95, 0.9]), (0.5, 0.3, [0.5, 0.3]), (0.9, 0.3, [0.3]), (0.25, 0.5, [0.75, 0.5])],
)
def test_step_targets(step: float, target: float, expected: list[float]) -> None:
    assert step_targets(step, target) == pytest.approx(expected)


def test_a_cubic_schedule_takes_large_steps_first_and_as_many() -> None:
    targets = step_targets(0.25, 0.2, Schedule.CUBIC)
    assert targets == pytest.approx([0.5375, 0.3, 0.2125, 0.2])
    assert len(targets) == len(step_targets(0.25, 0.2))


@pytest.mark.parametrize(("step", "target"), [(0, 0.5), (1, 0.5), (0.1, 0), (0.1, 1)])
def test_senseless_steps_are_refused(step: float, target: float) -> None:
    with pytest.raises(UsageError):
        step_targets(step, target)


@pytest.mark.parametrize("step", [1e-9, 5e-324])
def test_more_steps_than_anybody_takes_are_refused(step: float) -> None:
    with pytest.raises(UsageError, match="steps: give a larger one"):
        step_targets(step, 0.3)
    assert len(step_targets(0.0007, 0.3)) == 1000


def test_it_stops_above_an_error() -> None:
    networks = list(
        follow(DENSE, step=0.2, keep=0.2, prune=prune_to, kept=share_of_macs, finetune=leave,
                evaluate=lambda network, step: 0.1 * step, limit=Limit(ceiling=0.25))
    )  # fmt: skip
    assert [n.step for n in networks] == [0, 1, 2, 3]
