"""The budget's shape: the plan that errs least on images that it was not fitted to."""

from functools import partial

import numpy as np
import pytest

from tests.pruning.networks import slim_of
from tests.pruning.recover.convolutions import CFG, images_of, network
from tests.random_networks import random_state
from yoloprune.frontends.darknet.lower import parameters
from yoloprune.frontends.darknet.parser import parse_cfg
from yoloprune.pruning import shape
from yoloprune.pruning.budget import Budget
from yoloprune.pruning.plan import PruningPlan
from yoloprune.pruning.queue import Scores
from yoloprune.pruning.recover.errors import output_errors
from yoloprune.pruning.recover.network import recover
from yoloprune.pruning.shape import FITTED, shaped
from yoloprune.pruning.solve import solve

SPEC = parse_cfg(CFG.format(groups=1, activation="leaky"))


@pytest.mark.parametrize("high", [0, 1])
def test_the_shape_is_the_one_whose_re_fitted_outputs_err_least(high: int) -> None:
    dependencies, state = network(SPEC), parameters(random_state(SPEC))
    images = images_of(dependencies, 24)
    groups = [group.id for group in dependencies.prunable]
    ramp = np.geomspace(0.1, 1, 8)
    # One group's channels cost more than the other's: a contrast spares them all.
    scores = {own: ramp * (2.5 if place == high else 1.0) for place, own in enumerate(groups)}
    plan_of = partial(solve, dependencies, budget=Budget(limits={"macs": 0.6}), criterion="own")

    def error(plan: PruningPlan) -> float:
        slim = slim_of(dependencies, state, plan)
        found = recover(dependencies, state, plan, slim, images[:FITTED])
        (errors,) = output_errors(
            (dependencies.graph, state), slim[0], [found.parameters], images[FITTED:]
        )
        return sum(errors)

    spared = {own: values * values.mean() ** 0.3 for own, values in scores.items()}
    plans = [plan_of(own) for own in (scores, spared)]
    assert plans[0].keep != plans[1].keep
    best = min(plans, key=error)
    found = shaped(dependencies, state, scores, plan_of, images)
    assert plan_of(found).keep == best.keep


def test_a_plan_is_tried_once_and_nothing_without_images_to_judge_by(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    dependencies, state = network(SPEC), parameters(random_state(SPEC))
    images = images_of(dependencies, FITTED + 1)
    scores = {group.id: np.arange(1.0, 9.0) for group in dependencies.prunable}
    tried = []

    def plan_of(own: Scores) -> PruningPlan:
        return solve(dependencies, scores, Budget(limits={"macs": 0.6}), criterion="own")

    monkeypatch.setattr(shape, "recover", lambda *args, **_: tried.append(0) or recover(*args))
    shaped(dependencies, state, scores, plan_of, images)
    assert len(tried) == 1
    assert shaped(dependencies, state, scores, plan_of, images[:FITTED]) is scores
    assert len(tried) == 1
