"""The whole of one pruning step: score, plan, compensate, cut, prove."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from torch import Tensor

from yoloprune.darknet.spec import NetworkSpec
from yoloprune.darknet.state import ConvParameters, State
from yoloprune.pruning.budget import Scope, comparable, solve
from yoloprune.pruning.compensation import compensate
from yoloprune.pruning.groups import analyse
from yoloprune.pruning.importance import criterion_named, score
from yoloprune.pruning.plan import Budget, Compensation, PruningPlan
from yoloprune.pruning.surgery import surgery
from yoloprune.pruning.verification import (
    Verification,
    compare,
    head_maps,
    masked_state,
    require,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """What was measured in float64 on the verification images.

    `exactness`: slim against masked dense, which must be rounding error; `change`: slim against
    the dense original, which is what pruning cost before any fine-tuning; `residues`: the change
    under each compensation method, for the same channels.
    """

    exactness: Verification
    change: Verification
    residues: Mapping[str, Verification]


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
    criterion: str,
    scope: Scope,
    budget: Budget,
    compensation: Compensation,
    images: Tensor,
    seed: int = 0,
) -> Pruned:
    """Prune a network to a budget and verify the result.

    `images` (B, C, H, W) float64 in [0, 1] are what the verification runs on; `seed` is for the
    random criterion. Raises `PlanError` when the budget cannot be met and `VerificationError` when
    the slim network is not exact.
    """
    graph = analyse(spec)
    scores = score(graph, state, criterion_named(criterion, seed))
    plan = solve(
        graph,
        comparable(scores, scope),
        budget,
        criterion=criterion,
        compensation=compensation,
    )
    slim_spec, slim_state = surgery(spec, compensate(spec, state, plan), plan)
    proof = prove(spec, state, plan, slim_spec, slim_state, images)
    return Pruned(spec=slim_spec, state=slim_state, plan=plan, proof=proof)


def prove(
    spec: NetworkSpec,
    state: State,
    plan: PruningPlan,
    slim_spec: NetworkSpec,
    slim_state: State,
    images: Tensor,
) -> Proof:
    """Measure a slim network against its dense origin; raises `VerificationError` if not exact."""
    slim = head_maps(slim_spec, slim_state, images)
    masked = masked_state(spec, compensate(spec, state, plan), plan)
    exactness = compare(slim, head_maps(spec, masked, images))
    require(exactness, "slim against masked dense")
    dense = head_maps(spec, state, images)
    change = compare(slim, dense)
    residues = {plan.compensation.value: change}
    if plan.compensation is not Compensation.NONE:
        for other in (Compensation.NONE, Compensation.FOLD):
            if other is plan.compensation:
                continue
            otherwise = replace(plan, compensation=other)
            cut = surgery(spec, compensate(spec, state, otherwise), otherwise)
            residues[other.value] = compare(head_maps(*cut, images), dense)
    return Proof(exactness=exactness, change=change, residues=residues)
