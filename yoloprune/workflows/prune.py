"""Channel pruning from a network and a budget to a proven slim network."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from yoloprune.data.calibration import (
    Calibration,
    given_calibration,
    proof_images,
    read_calibration,
)
from yoloprune.devices import AUTO, torch_device
from yoloprune.errors import UsageError
from yoloprune.frontends.torch.document import ModuleDocument
from yoloprune.graph.edits import Reading
from yoloprune.graph.model import Model
from yoloprune.pruning.choices import Compensation, Scope
from yoloprune.pruning.clock import Clock
from yoloprune.pruning.groups import analyze
from yoloprune.pruning.measures import MEASURES, UNEVEN, Meter
from yoloprune.pruning.plan import PruningPlan
from yoloprune.pruning.prune import check_budget
from yoloprune.pruning.prune import prune as prune_graph
from yoloprune.pruning.score.gradients import Loss
from yoloprune.pruning.score.on_weights import MEASURED_CRITERIA
from yoloprune.pruning.shape import shaped
from yoloprune.pruning.solve import CLOSE, TIMED_ROUNDINGS, Solver, solve, solve_timed
from yoloprune.reporter import SILENT, Reporter
from yoloprune.workflows.choices import chosen
from yoloprune.workflows.cut import Cut
from yoloprune.workflows.defaults import ON_IMAGES, PRUNING
from yoloprune.workflows.depth import shorten
from yoloprune.workflows.models import AnyModel, opened
from yoloprune.workflows.modules import check_module
from yoloprune.workflows.recover import recover
from yoloprune.workflows.rounding import rounded, suited_to
from yoloprune.workflows.scores import scores_on_images
from yoloprune.workflows.task import narrowed, silent_task, task_of
from yoloprune.workflows.timing import ENGINE, clock_of


def prune(
    network: AnyModel,
    keep: Mapping[str, float] | None = None,
    *,
    classes: Sequence[str | int] = (),
    silent_below: float | None = None,
    blocks: Sequence[Reading] = (),
    criterion: str | None = None,
    scope: Scope | str = PRUNING.scope,
    compensation: Compensation | str = PRUNING.compensation,
    min_channels: int = PRUNING.min_channels,
    multiple_of: int | None = None,
    max_layer_cut: float = PRUNING.max_layer_cut,
    images: str | Path | None = None,
    calibration: Calibration | Tensor | None = None,
    loss: Loss | None = None,
    calibration_images: int = PRUNING.calibration_images,
    refit: bool = True,
    seed: int = PRUNING.seed,
    preprocess: str | None = None,
    decoder: str | None = None,
    engine: str = ENGINE,
    threads: int | None = None,
    timings: str | Path | None = None,
    device: str | torch.device = AUTO,
    reporter: Reporter = SILENT,
) -> Cut:
    """Remove the lowest-scored channels until the network meets a budget, and prove the result.

    Where `images` are at hand (a folder, list or .data file, or network inputs (B, ...) as the
    `calibration`), channels are scored by what they cost after a re-fit, and the slim network is
    re-fitted (`recover`), unless `refit` is False or there is no budget; both look at
    `calibration_images` of the folder's, or at the `calibration`. Without images the `criterion` is
    `l2`.

    `keep` are the largest shares to keep, in (0, 1], such as `{"macs": 0.6}`; several are all met.
    Where `classes` are given, by name or number, the heads are cut to these first, which changes
    none of their scores: shares are then of what that leaves, and without `keep` that is all. An
    ONNX network's outputs are read by the `decoder`, where they do not show which. Anchors of a
    Darknet network, and whole scales of any, go likewise of which no box scores above
    `silent_below` on any of the `images`. Then `blocks` go, contributions to sums (by node and
    input: `block_order` finds some), with all that only these need; shares are of the network with
    them. A group keeps at least `min_channels` and loses at most the share `max_layer_cut`; counts
    are rounded up to a `multiple_of`, by default to what the engines that are installed compute
    fastest (`rounding.suited_multiple`), or finer where the budget needs it. `{"ms": 0.5}` is half
    of the dense network's time in the `engine` with so many `threads` (torch's own number), by the
    times of its layers, which are measured here or read from the `timings`, a table that was made
    elsewhere; counts are then rounded by what lets the most stay. The proof, before any re-fit,
    runs in float64 on noise and on some of the `images`. `taylor` goes by the `loss`, which is
    given outputs and the numbers of their images and gives a sum over these, or by that of a
    Darknet network's heads. Images become an ONNX network's inputs by `preprocess`, where the file
    does not show how. All is computed on the `device`. Raises `UsageError` for an unknown measure,
    device or class and where images are missing, `MissingDependencyError` for an engine that is not
    installed, `PlanError` if the budget cannot be met or the timings do not fit,
    `VerificationError` if the result is not exact.
    """
    scope = chosen(Scope, scope, "scope")
    compensation = chosen(Compensation, compensation, "compensation")
    place = torch_device(device)
    network = opened(network)
    _warn_of_masks(network, reporter)
    source = None if images is None else Path(images)
    # Who has chosen a `Calibration` re-fits by it as well.
    at_hand = source is not None or isinstance(calibration, Tensor)
    cut_to = task = silence = None
    if classes:
        task = task_of(network, classes, preprocess=preprocess, decoder=decoder, reporter=reporter)
    if silent_below is not None:
        if source is None:
            raise UsageError("silent_below: `images` must show what is to be found")
        task, silence = silent_task(
            network,
            task,
            source,
            silent_below,
            preprocess=preprocess,
            decoder=decoder,
            reporter=reporter,
        )
    if task is not None:
        batch = proof_images(network, source, place, preprocess)
        with reporter.stage("cutting to the task and verifying in float64"):
            cut_to = narrowed(network, task, batch, silence)
        network = cut_to.network
    elif not keep:
        raise UsageError(f"the budget limits nothing (known: {', '.join(MEASURES)})")
    whole, short = network, None
    if blocks:
        with reporter.stage("removing blocks and verifying in float64"):
            short = shorten(network, blocks, proof_images(network, source, place, preprocess))
        network = short.network
        with ExitStack() as stack:
            clocks = [
                stack.enter_context(
                    clock_of(each, engine, threads, timings, reporter, before=whole)
                )
                for each in (whole, network)
                if UNEVEN & (keep or {}).keys()
            ]
            keep = shares_left(keep or {}, (whole, network), clocks)
    graph = network.graph
    if criterion is None:
        criterion = ON_IMAGES if at_hand and keep else PRUNING.criterion
    shape = refit and criterion == ON_IMAGES and scope is Scope.GLOBAL
    refit = refit and at_hand and bool(keep)
    budget = rounded(
        graph, keep or {}, min_channels, multiple_of, max_layer_cut, compensation, reporter
    )
    timed = UNEVEN & (keep or {}).keys()
    if isinstance(calibration, Tensor):
        calibration = given_calibration(calibration)
    if calibration is None and source is not None and (refit or criterion in MEASURED_CRITERIA):
        calibration = read_calibration(
            network, source, calibration_images, seed, reporter, preprocess
        )
    if criterion in MEASURED_CRITERIA and not timed:
        check_budget(
            analyze(graph), network.parameters, budget, criterion, compensation=compensation
        )
    if calibration is not None:
        calibration = calibration.on(place)
    measured = scores_on_images(
        criterion, network, calibration, loss=loss, seed=seed, reporter=reporter
    )
    if measured is not None and calibration is not None and shape and not timed:
        measured = shaped(
            analyze(graph),
            network.parameters,
            measured,
            partial(
                solve, analyze(graph), budget=budget, criterion=criterion, compensation=compensation
            ),
            calibration.images,
            seed=seed,
            reporter=reporter,
        )
    batch = proof_images(network, source, place, preprocess)
    solver: Solver = solve
    stated: dict[str, Any] = {} if preprocess is None else {"preprocess": preprocess}
    with ExitStack() as stack:
        if timed:
            clock = stack.enter_context(
                clock_of(network, engine, threads, timings, reporter, before=whole)
            )
            suited = multiple_of
            if multiple_of is None and timings is None:
                suited = suited_to(engine, reporter)
            usual = TIMED_ROUNDINGS if multiple_of is None else (multiple_of,)
            roundings = [own for own in usual if suited is None or own <= suited]
            solver = partial(solve_timed, clock=clock, roundings=roundings, suited=suited)
        else:
            stack.enter_context(reporter.stage("pruning and verifying in float64"))
        found = prune_graph(
            graph,
            network.parameters,
            criterion=criterion,
            scope=scope,
            budget=budget,
            compensation=compensation,
            images=batch,
            seed=seed,
            measured=measured,
            solver=solver,
        )
        if timed:
            stated |= _predicted(clock, found.plan)
            _warn_of_time(stated["predicted_share"], budget.limits["ms"], reporter)
    document = network.document.applied(found.edits)
    slim = Model(graph=found.graph, parameters=found.parameters, document=document)
    if isinstance(document, ModuleDocument):
        check_module(slim)
    settings: dict[str, Any] = {
        "criterion": criterion,
        "scope": scope.value,
        "compensation": compensation.value,
        "seed": seed,
        "verification_images": len(next(iter(batch.values()))),
        **stated,
    }
    made = Cut(
        dense=network,
        plan=replace(
            found.plan, task=None if cut_to is None else cut_to.task, blocks=tuple(blocks)
        ),
        narrowed=cut_to,
        shortened=short,
        exact=slim,
        slim=slim,
        proof=found.proof,
        settings=settings,
        scores=found.scores,
        learned_from={} if measured is None or calibration is None else calibration.learned_from,
    )
    if calibration is None or not refit:
        return made
    return recover(made, calibration, seed=seed, device=device, reporter=reporter)


def _predicted(clock: Clock, plan: PruningPlan) -> dict[str, Any]:
    """What the plan was made by: the times that were predicted, and what they are bound by."""
    graph = clock.dependencies
    before, after = (clock.time(graph.kept(keep)) for keep in ({}, plan.keep))
    return {
        "timings": clock.timings.source,
        "dense_ms": round(before.ms, 4),
        "predicted_ms": round(after.ms, 4),
        "predicted_share": round(after.ms / before.ms, 4),
        "bound_by": after.bound_by,
        "goes_into": {name: round(share, 4) for name, share in after.parts.items()},
    }


def _warn_of_time(predicted: float, limit: float, reporter: Reporter) -> None:
    """What was timed last may say that narrower networks take longer than it was thought."""
    if predicted > (1 + CLOSE) * limit:
        reporter.warn(
            f"the slim network takes {predicted:.2f} of dense's time, not {limit:.2f}: times of "
            "its layers and of the whole contradict each other (prune again on an idle machine)"
        )


def shares_left(
    keep: Mapping[str, float], networks: Sequence[Model], clocks: Sequence[Clock]
) -> dict[str, float]:
    """Shares of the second network that are so much of the first, which it is a part of.

    Where it costs less than that already, nothing more has to go.
    """
    costs = []
    for number, network in enumerate(networks):
        dependencies = analyze(network.graph)
        meter = Meter(dependencies, clocks[number] if clocks else None)
        costs.append(meter.remaining(dependencies.kept({})))
    return {
        name: min(1.0, share * MEASURES[name](costs[0]) / MEASURES[name](costs[1]))
        for name, share in keep.items()
    }


def _warn_of_masks(network: Model, reporter: Reporter) -> None:
    """Tell that masks of single weights end here: they are of the dense network."""
    source = network.document.source
    masks = source[0].parent / "masks.json" if source else None
    if masks is not None and masks.exists():
        reporter.warn(
            f"{masks} is of the dense network: what is zero in the slim one is trained as any "
            "other weight; zero it again after pruning"
        )
