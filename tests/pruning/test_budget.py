import pytest

from yoloprune.errors import PlanError
from yoloprune.pruning.budget import Budget


@pytest.mark.parametrize(
    "options",
    [
        {"limits": {"macs": 0.0}},
        {"limits": {"params": 1.5}},
        {"limits": {"channels": float("nan")}},
        {"limits": {"seconds": 0.5}},
        {"min_channels": 0},
        {"multiple_of": 0},
        {"max_layer_cut": 1.2},
    ],
)
def test_a_senseless_budget_cannot_be_made(options: dict[str, object]) -> None:
    with pytest.raises(PlanError):
        Budget(**({"limits": {}} | options))


def test_a_senseless_budget_says_what_is_wrong() -> None:
    with pytest.raises(PlanError, match=r"cannot limit 'seconds' \(it can limit macs, params"):
        Budget(limits={"seconds": 0.5})
    with pytest.raises(PlanError, match=r"macs=1.5 must be in \(0, 1\]: it is the fraction"):
        Budget(limits={"macs": 1.5})
    assert Budget(limits={"macs": 1.0, "params": 1e-9}).multiple_of == 1
