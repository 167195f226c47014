"""The whole of one pruning step: score, plan, compensate, cut, prove."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from yoloprune.graph.edits import Edits, edit
from yoloprune.graph.graph import Graph
from yoloprune.pruning.budget import Budget
from yoloprune.pruning.choices import Compensation, Scope
from yoloprune.pruning.compensation import compensate
from yoloprune.pruning.cut import cut
from yoloprune.pruning.groups import DependencyGraph, analyze
from yoloprune.pruning.plan import PruningPlan, check_plan
from yoloprune.pruning.prove import Exactness, dense_outputs, exactness, outputs, require, single
from yoloprune.pruning.queue import Scores
from yoloprune.pruning.score.on_weights import MEASURED_CRITERIA, criterion_named, score
from yoloprune.pruning.solve import Solver, comparable, ranked, solve
from yoloprune.pruning.verification import Verification, batches, compare, random_images


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """What was measured on the verification images.

    `exactness`: slim against masked dense in float64, which must be rounding error; `change`: slim
    against the dense original in float32, which is what pruning cost before any recovery or
    fine-tuning.
    """

    exactness: Exactness
    change: Verification


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Pruned:
    """A slim network, the plan and the edits that made it, and the proof that it was made right.

    `scores` are the comparable ones that the plan was made from, by group id.
    """

    graph: Graph
    parameters: Mapping[str, Tensor]
    dependencies: DependencyGraph
    plan: PruningPlan
    edits: Edits
    proof: Proof
    scores: Scores


def prune(
    graph: Graph,
    parameters: Mapping[str, Tensor],
    *,
    budget: Budget,
    criterion: str = "l2",
    scope: Scope = Scope.GLOBAL,
    compensation: Compensation = Compensation.NONE,
    images: Mapping[str, Tensor] | None = None,
    seed: int = 0,
    measured: Scores | None = None,
    solver: Solver = solve,
) -> Pruned:
    """Prune a network to a budget and verify the result.

    `images` are what the verification runs on, float64 by the names of the graph's inputs (seeded
    noise by default), and their device is where it runs; `seed` is for the random criterion.
    `measured` are scores that were measured on images (`score.on_images`), comparable over the
    network, in place of the criterion's own; `solver` makes the plan. Raises `PlanError` when the
    budget cannot be met, `WeightsError` when the dense network overflows, and `VerificationError`
    when the slim network is not exact.
    """
    dependencies = analyze(graph)
    scores = rankable_scores(
        dependencies, parameters, criterion, scope, seed=seed, measured=measured
    )
    plan = solver(dependencies, scores, budget, criterion=criterion, compensation=compensation)
    edits = cut(dependencies, plan)
    ready = compensate(dependencies, parameters, plan)
    slim = edit(graph, ready, edits)
    proof = prove(dependencies, parameters, plan, slim, images, ready=ready)
    return Pruned(
        graph=slim[0],
        parameters=slim[1],
        dependencies=dependencies,
        plan=plan,
        edits=edits,
        proof=proof,
        scores=scores,
    )


def rankable_scores(
    dependencies: DependencyGraph,
    parameters: Mapping[str, Tensor],
    criterion: str,
    scope: Scope,
    *,
    seed: int = 0,
    measured: Scores | None = None,
) -> dict[int, NDArray[np.float64]]:
    """Scores that `solve` may rank: the criterion's own, or those that were `measured` for it."""
    if measured is not None:
        return ranked(measured, scope)
    return comparable(score(dependencies, parameters, criterion_named(criterion, seed)), scope)


def check_budget(
    dependencies: DependencyGraph,
    parameters: Mapping[str, Tensor],
    budget: Budget,
    criterion: str,
    *,
    compensation: Compensation = Compensation.NONE,
) -> None:
    """Raise `PlanError` if the budget cannot be met, or the criterion cannot score this network.

    Nothing is measured on images: how far a budget reaches does not depend on the scores.
    """
    weighed = "l2" if criterion in MEASURED_CRITERIA else criterion
    scores = rankable_scores(dependencies, parameters, weighed, Scope.GLOBAL)
    solve(dependencies, scores, budget, criterion=criterion, compensation=compensation)


def prove(
    dependencies: DependencyGraph,
    parameters: Mapping[str, Tensor],
    plan: PruningPlan,
    slim: tuple[Graph, Mapping[str, Tensor]],
    images: Mapping[str, Tensor] | None = None,
    *,
    ready: Mapping[str, Tensor] | None = None,
) -> Proof:
    """Measure a slim network against its dense origin.

    `ready` are the parameters compensated for the plan, if they are there already. Raises
    `PlanError` for a plan of another network, `VerificationError` if the slim network is not exact,
    `WeightsError` if the dense network overflows.
    """
    check_plan(dependencies, plan)
    graph, kept = dependencies.graph, dependencies.kept(plan.keep)
    parts = batches(graph, random_images(graph) if images is None else images)
    dense = [dense_outputs(graph, parameters, part) for part in parts]
    if ready is None:
        ready = compensate(dependencies, parameters, plan)
    found = [exactness(dependencies, ready, kept, slim, part) for part in parts]
    # Of several, the first that is not a number counts as the largest.
    worst = found[int(np.argmax([each.relative_error for each in found]))]
    require(worst)
    given = [outputs(*slim, single(part)) for part in parts]
    return Proof(exactness=worst, change=compare(_joined(given), _joined(dense)))


def _joined(parts: list[tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
    """Outputs for several batches, one behind the other."""
    if len(parts) == 1:
        return parts[0]
    return tuple(torch.cat([each.reshape(-1) for each in own]) for own in zip(*parts, strict=True))
