"""The sweep's points are the networks that pruning to the same budgets gives."""

import pytest
from yoloprune.pruning.pruner import prune

from yoloprune.darknet.cost import cost
from yoloprune.darknet.spec import NetworkSpec
from yoloprune.darknet.state import State
from yoloprune.darknet.zoo import yolov3_tiny
from yoloprune.errors import PlanError
from yoloprune.model.initialization import random_state
from yoloprune.pruning.plan import Budget
from yoloprune.workflows.sweep import sweep_points

SPEC = yolov3_tiny(classes=1, width=0.125, size=(64, 64))
STATE = random_state(SPEC)


def size_of_kernels(spec: NetworkSpec, state: State) -> float:
    return float(sum(parameters.kernel.square().sum() for parameters in state.values()))


@pytest.mark.parametrize("multiple_of", [1, 8, None])
def test_each_point_is_the_network_that_prune_gives(multiple_of: int | None) -> None:
    found = list(
        sweep_points(
            SPEC, STATE, criteria=("l2", "random"), shares=(0.8, 0.4), evaluate=size_of_kernels,
            multiple_of=multiple_of, seed=3,
        )
    )  # fmt: skip
    assert [point.criterion for point in found] == ["l2", "l2", "random", "random"]
    for point, share in zip(found, (0.8, 0.4, 0.8, 0.4), strict=True):
        budget = Budget(keep_macs=share, multiple_of=multiple_of or 8)
        pruned = prune(SPEC, STATE, budget=budget, criterion=point.criterion, seed=3)
        assert point.keep_macs == cost(pruned.spec).macs / cost(SPEC).macs <= share
        assert point.accuracy == pytest.approx(size_of_kernels(pruned.spec, pruned.state))
    if multiple_of == 1:
        # The largest kernels are what l2 keeps.
        assert found[1].accuracy > found[3].accuracy


def test_nothing_is_evaluated_before_every_budget_is_known_to_hold() -> None:
    evaluated: list[int] = []

    def evaluate(spec: NetworkSpec, state: State) -> float:
        evaluated.append(1)
        return 0.0

    with pytest.raises(PlanError):
        list(sweep_points(SPEC, STATE, criteria=("l2",), shares=(0.5, 1e-9), evaluate=evaluate))
    assert not evaluated
