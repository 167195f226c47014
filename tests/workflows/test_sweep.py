"""The sweep's points are the networks that pruning to the same budgets gives."""

import pytest

from yoloprune.errors import PlanError
from yoloprune.frontends.darknet.cost import cost
from yoloprune.frontends.darknet.document import darknet, model
from yoloprune.frontends.darknet.initialization import random_state
from yoloprune.frontends.darknet.zoo import yolov3_tiny
from yoloprune.graph.model import Model
from yoloprune.pruning.budget import Budget
from yoloprune.pruning.prune import prune
from yoloprune.workflows.sweep import sweep_points

SPEC = yolov3_tiny(classes=1, width=0.125, size=(64, 64))
DENSE = model(SPEC, random_state(SPEC), title="dense")


def size_of_kernels(network: Model) -> float:
    kernels = [array for name, array in network.parameters.items() if name.endswith("kernel")]
    return float(sum(kernel.square().sum() for kernel in kernels))


@pytest.mark.parametrize(("multiple_of", "finer"), [(1, False), (8, False), (8, True)])
def test_each_point_is_the_network_that_prune_gives(multiple_of: int, finer: bool) -> None:
    found = list(
        sweep_points(
            DENSE, criteria=("l2", "random"), shares=(0.8, 0.4), evaluate=size_of_kernels,
            multiple_of=multiple_of, finer=finer, seed=3,
        )
    )  # fmt: skip
    assert [point.criterion for point in found] == ["l2", "l2", "random", "random"]
    for point, share in zip(found, (0.8, 0.4, 0.8, 0.4), strict=True):
        budget = Budget(limits={"macs": share}, multiple_of=multiple_of)
        pruned = prune(
            DENSE.graph, DENSE.parameters, budget=budget, criterion=point.criterion, seed=3
        )
        slim = DENSE.edited(pruned.edits)
        assert point.keep_macs == cost(darknet(slim).spec).macs / cost(SPEC).macs <= share
        assert point.figure == pytest.approx(size_of_kernels(slim))
    if multiple_of == 1:
        # The largest kernels are what l2 keeps.
        assert found[1].figure > found[3].figure


def test_nothing_is_evaluated_before_every_budget_is_known_to_hold() -> None:
    evaluated: list[int] = []

    def evaluate(network: Model) -> float:
        evaluated.append(1)
        return 0.0

    with pytest.raises(PlanError):
        list(sweep_points(DENSE, criteria=("l2",), shares=(0.5, 1e-9), evaluate=evaluate))
    assert not evaluated
