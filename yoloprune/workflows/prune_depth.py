"""Blocks weighed against channels: which of both a budget takes from is found by trying."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from yoloprune.counting import counted
from yoloprune.data.calibration import Calibration
from yoloprune.devices import AUTO, torch_device
from yoloprune.errors import PlanError
from yoloprune.pruning.measures import UNEVEN
from yoloprune.reporter import SILENT, Reporter
from yoloprune.workflows.cut import Cut
from yoloprune.workflows.defaults import PRUNING
from yoloprune.workflows.depth import block_order
from yoloprune.workflows.models import AnyModel, opened
from yoloprune.workflows.prune import prune
from yoloprune.workflows.recover import recover
from yoloprune.workflows.timing import ENGINE, clock_of

MOST = 8
"""Blocks that are removed at most."""

LOOKED_AT = 16
"""Images by which blocks are put in order."""

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
    budget wants; each such network is re-fitted. The one is given whose outputs are nearest to the
    dense network's, on images that it was not fitted to where there are some. `engine`, `threads`,
    `timings` and `settings` are those of `prune`. Raises what `prune` and `block_order` raise.
    """
    network, images = opened(network), calibration.on(torch_device(device)).images[:LOOKED_AT]
    ms = None
    if UNEVEN & keep.keys():
        with clock_of(network, engine, threads, timings, reporter) as clock:
            ms = clock.each
    with reporter.stage("weighing blocks"):
        order = block_order(network, images, most, ms)
    best: Cut | None = None
    problem: PlanError | None = None
    errors: dict[int, float] = {}
    for count in range(len(order) + 1):
        try:
            cut = prune(
                network,
                keep,
                blocks=order[:count],
                calibration=calibration,
                refit=False,
                engine=engine,
                threads=threads,
                timings=timings,
                seed=seed,
                device=device,
                reporter=reporter,
                **settings,
            )
        except PlanError as error:
            # Fewer channels may not do where fewer blocks do.
            problem = problem or error
            continue
        cut = recover(
            cut, calibration, seed=seed, made_by=made_by, device=device, reporter=reporter
        )
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
    tried = {str(count): round(error, 4) for count, error in errors.items()}
    return replace(best, settings={**best.settings, "error_by_blocks_removed": tried})
