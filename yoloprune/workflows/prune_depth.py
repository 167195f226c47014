"""Blocks weighed against channels: which of both a budget takes from is found by trying."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import torch

from yoloprune.counting import counted
from yoloprune.data.calibration import Calibration
from yoloprune.devices import AUTO, torch_device
from yoloprune.errors import PlanError
from yoloprune.graph.edits import Reading
from yoloprune.pruning.measures import UNEVEN
from yoloprune.reporter import SILENT, Reporter
from yoloprune.workflows.cut import Cut
from yoloprune.workflows.defaults import PRUNING
from yoloprune.workflows.depth import blocks_in_order
from yoloprune.workflows.models import AnyModel, opened
from yoloprune.workflows.prune import prune
from yoloprune.workflows.recover import recover
from yoloprune.workflows.timing import ENGINE, clock_of

MOST = 8
"""Blocks that are removed at most."""

LOOKED_AT = 16
"""Images by which blocks are put in order and their number is found, and as many to judge that."""

PATIENCE = 2
"""So many blocks more may bring nothing before the search ends."""


def prune_with_depth(
    network: AnyModel,
    keep: Mapping[str, float],
    calibration: Calibration,
    *,
    most: int = MOST,
    engine: str = ENGINE,
    threads: int | None = None,
    timings: str | Path | None = None,
    seed: int = PRUNING.seed,
    made_by: str | None = None,
    device: str | torch.device = AUTO,
    reporter: Reporter = SILENT,
    **settings: Any,
) -> Cut:
    """Meet a budget with fewer blocks and channels, re-fitted on the images of the calibration.

    None, one, two, ... blocks go, those first that cost the least error at the outputs for what
    they save, milliseconds where these are limited, or else MACs, and channels as the rest of the
    budget wants; each such network is re-fitted on a few of the images. The one is given, re-fitted
    on all, whose outputs were nearest to the dense network's on images that it was not fitted to,
    where there are some. `engine`, `threads`, `timings` and `settings` are those of `prune`. Raises
    what `prune` and `blocks_in_order` raise.
    """
    network, images = opened(network), calibration.on(torch_device(device)).images[:LOOKED_AT]
    ms = None
    if UNEVEN & keep.keys():
        with clock_of(network, engine, threads, timings, reporter) as clock:
            ms = clock.each
    order: Iterator[Reading] = blocks_in_order(network, images, ms)
    with reporter.stage("weighing blocks"):
        order = chain([next(order)], order)
    settings |= {"engine": engine, "threads": threads, "timings": timings}
    settings |= {"seed": seed, "device": device, "reporter": reporter}

    def made(gone: Sequence[Reading], seen: Calibration) -> Cut:
        cut = prune(network, keep, blocks=tuple(gone), calibration=seen, refit=False, **settings)
        return recover(cut, seen, seed=seed, made_by=made_by, device=device, reporter=reporter)

    few = _few(calibration)
    best: Cut | None = None
    problem: PlanError | None = None
    errors: dict[int, float] = {}
    gone: list[Reading] = []
    for count in range(most + 1):
        if count:
            following = next(order, None)
            if following is None:
                break
            gone.append(following)
        try:
            cut = made(gone, few)
        except PlanError as error:
            # Fewer channels may not do where fewer blocks do.
            problem = problem or error
            continue
        assert cut.recovery is not None
        after = cut.recovery["heads"]["after"]
        errors[count] = sum(after) / len(after)
        reporter.say(f"without {counted(count, 'block')}: error at the outputs {errors[count]:.3f}")
        if errors[count] == min(errors.values()):
            best = cut
        elif count - min(errors, key=lambda own: errors[own]) >= PATIENCE:
            break
    if best is None:
        assert problem is not None
        raise problem
    if few is not calibration:
        best = made(best.plan.blocks, calibration)
    tried = {str(count): round(error, 4) for count, error in errors.items()}
    return replace(best, settings={**best.settings, "error_by_blocks_removed": tried})


def _few(calibration: Calibration) -> Calibration:
    """The first images, the next ones to judge by: scoring and re-fitting take most of the time."""
    images, unseen = calibration.images, calibration.unseen
    if len(images) <= LOOKED_AT:
        return calibration
    unseen = torch.cat([images[LOOKED_AT : 2 * LOOKED_AT], unseen])[:LOOKED_AT]
    return replace(
        calibration,
        images=images[:LOOKED_AT],
        unseen=unseen,
        samples=calibration.samples[:LOOKED_AT],
    )
