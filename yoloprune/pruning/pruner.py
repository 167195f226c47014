"""The whole of one pruning step: score, plan, compensate, cut, prove."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from yoloprune.darknet.spec import NetworkSpec
from yoloprune.darknet.state import ConvParameters, State
from yoloprune.pruning.budget import Scope, Scores, comparable, ranked, solve
from yoloprune.pruning.compensation import compensate
from yoloprune.pruning.groups import DependencyGraph, analyse
from yoloprune.pruning.importance import MEASURED_CRITERIA, criterion_named, score
from yoloprune.pruning.plan import Budget, Compensation, PruningPlan
from yoloprune.pruning.surgery import surgery
from yoloprune.pruning.verification import (
    Verification,
    compare,
    dense_maps,
    head_maps,
    masked_state,
    random_images,
    require,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """What was measured in float64 on the verification images.

    `exactness`: slim against masked dense, which must be rounding error; `change`: slim against
    the dense original, which is what pruning cost before any fine-tuning.
    """

    exactness: Verification
    change: Verification


@dataclass(frozen=True, slots=True, kw_only=True)
class Pruned:
    """A slim network, the plan that made it, and the proof that it was made right."""

    spec: NetworkSpec
    state: dict[int, ConvParameters]
    plan: PruningPlan
    proof: Proof


def prune(
    spec: NetworkSpec,
    state: State,
    *,
    budget: Budget,
    criterion: str = "l2",
    scope: Scope = Scope.GLOBAL,
    compensation: Compensation = Compensation.NONE,
    images: Tensor | None = None,
    seed: int = 0,
    measured: Scores | None = None,
) -> Pruned:
    """Prune a network to a budget and verify the result.

    `images` (B, C, H, W) float64 in [0, 1], seeded noise by default, are what the verification runs
    on; `seed` is for the random criterion. `measured` are scores that were measured on images
    (`selection.py`), comparable over the network, in place of the criterion's own. Raises
    `PlanError` when the budget cannot be met, `WeightsError` when the dense network overflows, and
    `VerificationError` when the slim network is not exact.
    """
    if images is None:
        images = random_images(spec)
    graph = analyse(spec)
    scores = rankable_scores(graph, state, criterion, scope, seed=seed, measured=measured)
    plan = solve(graph, scores, budget, criterion=criterion, compensation=compensation)
    dense = dense_maps(spec, state, images)
    slim_spec, slim_state = surgery(spec, compensate(spec, state, plan), plan)
    slim = head_maps(slim_spec, slim_state, images)
    exactness = _exactness(spec, state, plan, slim, images)
    proof = Proof(exactness=exactness, change=compare(slim, dense))
    return Pruned(spec=slim_spec, state=slim_state, plan=plan, proof=proof)


def rankable_scores(
    graph: DependencyGraph,
    state: State,
    criterion: str,
    scope: Scope,
    *,
    seed: int = 0,
    measured: Scores | None = None,
) -> dict[int, NDArray[np.float64]]:
    """Scores that `solve` may rank: the criterion's own, or those that were `measured` for it."""
    if measured is not None:
        return ranked(measured, scope)
    return comparable(score(graph, state, criterion_named(criterion, seed)), scope)


def check_budget(
    spec: NetworkSpec,
    state: State,
    budget: Budget,
    criterion: str,
    *,
    compensation: Compensation = Compensation.NONE,
) -> None:
    """Raise `PlanError` if the budget cannot be met, or the criterion cannot score this network.

    Nothing is measured on images: how far a budget reaches does not depend on the scores.
    """
    graph = analyse(spec)
    weighed = "l2" if criterion in MEASURED_CRITERIA else criterion
    scores = rankable_scores(graph, state, weighed, Scope.GLOBAL)
    solve(graph, scores, budget, criterion=criterion, compensation=compensation)


def prove(
    spec: NetworkSpec,
    state: State,
    plan: PruningPlan,
    slim_spec: NetworkSpec,
    slim_state: State,
    images: Tensor,
) -> Proof:
    """Measure a slim network against its dense origin.

    Raises `VerificationError` if it is not exact, `WeightsError` if the dense network overflows.
    """
    dense = dense_maps(spec, state, images)
    slim = head_maps(slim_spec, slim_state, images)
    exactness = _exactness(spec, state, plan, slim, images)
    return Proof(exactness=exactness, change=compare(slim, dense))


def _exactness(
    spec: NetworkSpec, state: State, plan: PruningPlan, slim: tuple[Tensor, ...], images: Tensor
) -> Verification:
    """Slim head maps against those of the masked network; raises unless they are equal."""
    masked = masked_state(spec, compensate(spec, state, plan), plan)
    exactness = compare(slim, head_maps(spec, masked, images))
    require(exactness, "slim against masked dense")
    return exactness
