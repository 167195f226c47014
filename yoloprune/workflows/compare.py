"""Programs that thin networks, at equal MACs: what each leaves of the time and of the outputs."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor

from yoloprune.counting import counted
from yoloprune.data.calibration import Calibration, choose_calibration, fitted_images
from yoloprune.data.inputs import image_input
from yoloprune.data.read import dataset_images
from yoloprune.devices import AUTO, torch_device
from yoloprune.engines.benchmark import (
    Timer,
    alternating_times,
    latency_of,
    sample_image,
    timer,
)
from yoloprune.engines.onnxruntime import ONNXRUNTIME
from yoloprune.engines.table import run_in
from yoloprune.errors import GraphError, MissingDependencyError, UsageError, YoloPruneError
from yoloprune.execution.stream import only_input
from yoloprune.graph.model import Model
from yoloprune.pruning.verification import random_images
from yoloprune.reporter import SILENT, Reporter
from yoloprune.workflows.benchmark import RUNS, WARMUP
from yoloprune.workflows.comparison.result import Compared, Comparison
from yoloprune.workflows.comparison.table import TOOLS
from yoloprune.workflows.comparison.tool import Made, Outcome, Task, Tool
from yoloprune.workflows.defaults import PRUNING, SWEEP
from yoloprune.workflows.judges import ACCURACY, Judge, Request, error_of, judge_of
from yoloprune.workflows.models import AnyModel, opened
from yoloprune.workflows.overlap import without

IMAGES = 16
"""On which the outputs are compared, if there are so many."""


def compare(
    network: AnyModel,
    *,
    budgets: Sequence[float] = SWEEP.shares,
    tools: Sequence[str] | None = None,
    images: str | Path | None = None,
    data: str | Path | None = None,
    split: str | None = None,
    limit: int | None = None,
    allow_faulty: bool = False,
    multiple_of: int = 1,
    calibration_images: int = PRUNING.calibration_images,
    runs: int = RUNS,
    seed: int = PRUNING.seed,
    seeds: int = 1,
    device: str = AUTO,
    preprocess: str | None = None,
    decoder: str | None = None,
    reporter: Reporter = SILENT,
) -> Comparison:
    """Thin a network with several programs to the same shares of its MACs, and measure them all.

    `tools` are rows of `comparison.table.TOOLS`, all of them unless named; one that is not
    installed, or fails on this network, is a row that says so. Other programs are asked for the
    share of channels that leaves as many MACs as are wanted, and their files are compared with the
    dense network as `match` does. `images` are learned from, without labels, by those tools that
    can; `data` are evaluated, as in `sweep`, where boxes can be made of the outputs. Counts are
    rounded to `multiple_of` by those tools that can: more than 1 leaves the MACs less equal. Tools
    that depend on a seed, or on which images are chosen, run with so many `seeds`, from `seed` on.
    None of the `images` that are learned from is one that is evaluated on. Raises `UsageError` for
    unknown tools and shares outside of (0, 1), `MissingDependencyError` without ONNX Runtime,
    `DatasetError` for images that cannot be read.
    """
    shares = tuple(sorted(set(budgets), reverse=True))
    if not shares or not all(0 < share < 1 for share in shares):
        raise UsageError(f"`budgets` are shares of the MACs in (0, 1), not {list(budgets)}")
    chosen = _chosen(tools)
    ONNXRUNTIME.require()
    dense, place = opened(network), torch_device(device)
    judge, measured_on = None, tuple[Path, ...]()
    if data is not None:
        request = Request(
            data=Path(data),
            split=split,
            limit=limit,
            seed=seed,
            allow_faulty=allow_faulty,
            device=place,
            preprocess=preprocess,
            decoder=decoder,
        )
        judge = judge_of(dense, request, reporter)
        measured_on = judge.paths
        # Without a decoder, the error at the outputs is there already.
        judge = judge if judge.measure == ACCURACY else None
    if seeds < 1:
        raise UsageError(f"`seeds` {seeds} must be at least 1")
    calibrations: list[Calibration | None] = [None] * seeds
    if images is not None:
        source, reads = Path(images), image_input(dense, preprocess)
        paths = without(source, dataset_images(source), measured_on, reporter)
        calibrations = [
            choose_calibration(
                dense, reads, source, paths, calibration_images, seed + number, reporter
            ).on(place)
            for number in range(seeds)
        ]
    what, seen = _compared_on(dense, calibrations, data, preprocess)
    with TemporaryDirectory() as work:
        rows = []
        for tool in chosen:
            for number in range(seeds if tool.drawn else 1):
                task = Task(
                    dense=dense,
                    shares=shares,
                    calibration=calibrations[number],
                    multiple_of=multiple_of,
                    seed=seed + number,
                    device=device,
                    work=Path(work) / f"{tool.name}-{number}",
                    reporter=reporter,
                )
                own = _outcomes(tool, task)
                if tool.drawn and seeds > 1:
                    own = [replace(row, seed=task.seed) for row in own]
                rows += own
        found = _measured(dense, rows, seen, judge, runs, reporter)
    return Comparison(
        network=dense,
        dense=found[0],
        rows=tuple(sorted(found[1:], key=lambda row: -row.share)),
        runs=runs,
        images=what,
        judge=judge,
        about={tool.name: tool.about for tool in chosen},
    )


def _chosen(names: Sequence[str] | None) -> list[Tool]:
    if unknown := [name for name in names or () if name not in TOOLS]:
        raise UsageError(f"`tools` {unknown[0]!r} is not known: choose from {', '.join(TOOLS)}")
    return [TOOLS[name] for name in dict.fromkeys(TOOLS if names is None else names)]


def _compared_on(
    dense: Model,
    calibrations: Sequence[Calibration | None],
    data: str | Path | None,
    preprocess: str | None,
) -> tuple[str, Tensor]:
    """On what outputs are compared, in words and as inputs (B, C, H, W) float32."""
    calibration = calibrations[0]
    # What one seed leaves for later another may have learned from.
    if calibration is not None and len(calibration.unseen) and len(calibrations) == 1:
        return (
            f"{counted(len(calibration.unseen), 'image')} that no tool has seen",
            calibration.unseen,
        )
    if data is not None:
        paths = dataset_images(Path(data))
        reads = image_input(dense, preprocess)
        found, samples, _ = fitted_images(reads, Path(data), paths, IMAGES)
        return counted(len(samples), "image"), found
    if calibration is not None:
        count = len(calibration.images[:IMAGES])
        return f"{count} of the images that were learned from", calibration.images[:IMAGES]
    name = only_input(dense.graph)
    noise = [random_images(dense.graph, seed=seed)[name] for seed in range(IMAGES)]
    return "noise", torch.cat(noise).float()


def _outcomes(tool: Tool, task: Task) -> list[Compared]:
    """What a tool makes for each share."""
    found: Sequence[Outcome]
    if tool.missing:
        reason = MissingDependencyError(f"not installed: {tool.install}")
        found = [reason] * len(task.shares)
    else:
        task.work.mkdir()
        with task.reporter.stage(f"thinning with {tool.name}"):
            found = list(tool.make(task))
    rows = []
    for share, outcome in zip(task.shares, found, strict=True):
        row = Compared(tool=tool.name, share=share)
        if isinstance(outcome, Made):
            rows.append(replace(row, made=outcome, remark=outcome.remark))
        else:
            rows.append(replace(row, remark=str(outcome)))
    return rows


def _measured(
    dense: Model,
    rows: Sequence[Compared],
    images: Tensor,
    judge: Judge | None,
    runs: int,
    reporter: Reporter,
) -> list[Compared]:
    """The dense network and the rows, with what was measured of them."""
    first = Compared(tool="dense", share=1.0, made=Made(slim=dense, exact="yes"))
    macs = dense.cost.macs
    found, timers = [], {}
    for number, row in enumerate([first, *rows]):
        if row.made is None:
            found.append(row)
            continue
        try:
            measured, timers[str(number)] = _figures(dense, row, row.made.slim, images, judge)
        except YoloPruneError as error:
            if row is first:
                raise
            found.append(replace(row, made=None, remark=str(error)))
            continue
        found.append(replace(measured, kept=row.made.slim.cost.macs / macs))
    times = alternating_times(
        timers, ONNXRUNTIME.title, runs=runs, warmup=WARMUP, reporter=reporter
    )
    for name, series in times.items():
        found[int(name)] = replace(found[int(name)], latency=latency_of(series))
    return found


def _figures(
    dense: Model, row: Compared, slim: Model, images: Tensor, judge: Judge | None
) -> tuple[Compared, Timer]:
    """A row with error and accuracy, and a stopwatch; raises `GraphError` if it does not run."""
    ready = timer(run_in(slim, ONNXRUNTIME.name, threads=1, batch=1), sample_image(slim), 1)
    ready()
    try:
        difference = error_of(dense, images, slim)
    except RuntimeError as error:
        raise GraphError(f"its outputs cannot be compared: {error}") from error
    evaluation = None if judge is None or judge.evaluate is None else judge.evaluate(slim)
    return replace(row, error=difference, evaluation=evaluation), ready
