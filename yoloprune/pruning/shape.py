"""The budget's shape: how much more the layers keep that lose more, tried out.

Scores say what channels cost as if all other groups stayed whole. How costs add up where many go
differs between networks: some keep more when groups whose channels cost much are spared beyond
what the scores say, others do not. So plans of different shapes are made, each is re-fitted to a
few images, and the one is taken whose outputs on others are nearest to the dense network's.
"""

import math
from collections.abc import Callable

from yoloprune.execution.stream import Images
from yoloprune.graph.edits import edit
from yoloprune.pruning.compensation import compensate
from yoloprune.pruning.cut import cut
from yoloprune.pruning.groups import DependencyGraph
from yoloprune.pruning.layers import Arrays
from yoloprune.pruning.plan import PruningPlan
from yoloprune.pruning.queue import Scores
from yoloprune.pruning.recover.errors import errors_of, outputs_on
from yoloprune.pruning.recover.network import recover
from yoloprune.reporter import SILENT, Reporter

CONTRASTS = (0.0, 0.3)
"""Powers of a group's mean score that its scores are multiplied by."""

FITTED, JUDGED = 16, 16
"""Images that plans are re-fitted to, and others that these are judged by, at most."""


def shaped(
    dependencies: DependencyGraph,
    parameters: Arrays,
    scores: Scores,
    plan_of: Callable[[Scores], PruningPlan],
    images: Images,
    *,
    seed: int = 0,
    reporter: Reporter = SILENT,
) -> Scores:
    """The scores whose plan, re-fitted to some of the images, errs least on others of them.

    `images` (B, C, H, W) are network inputs; of too few nothing is judged. `scores` may be ranked
    over the network as they are. Raises what `plan_of` raises.
    """
    graph = dependencies.graph
    fitted, others = images[:FITTED], images[FITTED : FITTED + JUDGED]
    if not len(others):
        return scores
    wanted = outputs_on(others, (graph, parameters))
    best, least, tried = scores, math.inf, list[PruningPlan]()
    for contrast in reporter.track(CONTRASTS, "shaping the budget"):
        own = {i: values * values.mean() ** contrast for i, values in scores.items()}
        plan = plan_of(own)
        if any(plan.keep == other.keep for other in tried):
            continue
        tried.append(plan)
        slim = edit(graph, compensate(dependencies, parameters, plan), cut(dependencies, plan))
        found = recover(dependencies, parameters, plan, slim, fitted, seed=seed)
        given = outputs_on(others, (slim[0], found.parameters))
        error = sum(errors_of(given, wanted))
        if error < least:
            best, least = own, error
    return best
