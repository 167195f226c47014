"""Programs that thin networks, at equal MACs: what each leaves of the time and of the outputs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import mean, stdev
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor

from yoloprune.counting import counted
from yoloprune.data.calibration import Calibration, choose_calibration, fitted_images
from yoloprune.data.inputs import image_input
from yoloprune.data.read import dataset_images
from yoloprune.devices import AUTO, torch_device
from yoloprune.engines.benchmark import (
    Latency,
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
from yoloprune.files import write_folder, write_json, write_text
from yoloprune.graph.model import Model
from yoloprune.pruning.verification import random_images
from yoloprune.report.shown import Result, Shown
from yoloprune.report.table import amount
from yoloprune.reporter import SILENT, Reporter
from yoloprune.workflows.benchmark import RUNS, WARMUP
from yoloprune.workflows.comparison.table import TOOLS
from yoloprune.workflows.comparison.tool import Made, Outcome, Task, Tool
from yoloprune.workflows.cut import write_cut
from yoloprune.workflows.defaults import PRUNING, SWEEP
from yoloprune.workflows.judges import ACCURACY, Judge, Request, error_of, judge_of
from yoloprune.workflows.models import AnyModel, opened
from yoloprune.workflows.overlap import without

IMAGES = 16
"""On which the outputs are compared, if there are so many."""

NOTHING = "-"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Compared:
    """A tool's network for one share of the MACs, or why there is none.

    `kept` is the share that it has, by our own count; `error` is that of the outputs
    (`recover.errors`), their mean; `accuracy` is mAP@0.5 where labeled images were given. `exact`
    and `remark` say whether it computes what is left of the dense network. `seed` is given where
    there are several networks of a tool that depends on it.
    """

    tool: str
    share: float
    made: Made | None = None
    kept: float | None = None
    latency: Latency | None = None
    error: float | None = None
    accuracy: float | None = None
    remark: str = ""
    seed: int | None = None

    @property
    def name(self) -> str:
        """Of the folder that it is saved in."""
        return f"{self.tool}-{self.share:g}" + ("" if self.seed is None else f"-seed-{self.seed}")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class Comparison(Result):
    """Tools at equal MACs: `dense` first, then a row for each share and tool.

    `images` says what the outputs were compared on, `judge` what judged the accuracy, if anything.
    """

    network: Model
    dense: Compared
    rows: tuple[Compared, ...]
    runs: int
    images: str
    judge: Judge | None
    about: Mapping[str, str] = field(default_factory=dict)

    def shown(self) -> Shown:
        """A row a tool and share; below it what each tool does, and what went wrong."""
        judged = [] if self.judge is None else [self.judge.measure]
        title = (
            f"{self.network.document.title}, {amount(self.network.cost.macs)} MACs: ms in ONNX "
            f"Runtime, one thread, {self.runs} alternating runs; error at the outputs on "
            f"{self.images}"
        )
        if self.judge is not None:
            title += f"; mAP on {counted(self.judge.images, f'{self.judge.split} image')}"
        return Shown(
            title=title,
            summary=self._summary(),
            header=("Tool", "MACs asked", "MACs kept", "ms", "Error", *judged, "Exact"),
            rows=[self._cells(rows) for rows in ((self.dense,), *self._by_tool())],
            lines=[
                *(f"{tool}: {about}" for tool, about in self.about.items()),
                *dict.fromkeys(
                    f"{row.tool} at {row.share:g}: {row.remark}" for row in self.rows if row.remark
                ),
            ],
            document={
                "network": self.network.document.title,
                "runs": self.runs,
                "images": self.images,
                "judged_on": None
                if self.judge is None
                else {"images": self.judge.images, "split": self.judge.split},
                "dense": self._entry(self.dense),
                "rows": [self._entry(row) for row in self.rows],
            },
        )

    def save(self, folder: str | Path) -> list[str]:
        """Write each network into a folder of its own, compare.json and compare.md; gives names."""
        folder = Path(folder)
        shown = self.shown()
        with write_folder(folder) as temporary:
            for row in self.rows:
                if row.made is not None:
                    _write(temporary / row.name, row.made)
            write_json(temporary / "compare.json", shown.document)
            write_text(temporary / "compare.md", str(self))
            return sorted(path.name for path in temporary.iterdir())

    def _by_tool(self) -> list[tuple[Compared, ...]]:
        """The rows of each share and tool: one, or one a seed."""
        found: dict[tuple[float, str], tuple[Compared, ...]] = {}
        for row in self.rows:
            key = row.share, row.tool
            found[key] = (*found.get(key, ()), row)
        return list(found.values())

    def _cells(self, rows: Sequence[Compared]) -> list[str]:
        first = rows[0]
        numbers = [
            _figure([row.kept for row in rows], 3),
            _figure([None if row.latency is None else row.latency.median for row in rows], 2),
            _figure([row.error for row in rows], 3),
        ]
        if self.judge is not None:
            numbers.append(_figure([row.accuracy for row in rows], 3))
        exact = NOTHING if first.made is None else first.made.exact
        return [first.tool, f"{first.share:g}", *numbers, exact]

    def _entry(self, row: Compared) -> dict[str, Any]:
        return {
            "tool": row.tool,
            "seed": row.seed,
            "share": row.share,
            "kept": row.kept,
            "milliseconds": None if row.latency is None else row.latency.median,
            "error": row.error,
            "map50": row.accuracy,
            "exact": None if row.made is None else row.made.exact,
            "remark": row.remark,
        }

    def _summary(self) -> str:
        """The best of each share."""
        said = []
        for share in dict.fromkeys(row.share for row in self.rows):
            rows = [row for row in self.rows if row.share == share and row.error is not None]
            if not rows:
                said.append(f"nothing at {share:g}")
                continue
            best = min(rows, key=lambda row: (-(row.accuracy or 0), row.error))
            figure = f"error {best.error:.3f}"
            if best.accuracy is not None:
                figure = f"mAP@0.5 {best.accuracy:.3f}"
            said.append(f"{best.tool} at {share:g} with {figure}")
        return f"{self.network.document.title}: best are {', '.join(said)}"


def _figure(values: Sequence[float | None], digits: int) -> str:
    """A number or, of several seeds, their mean and standard deviation."""
    known = [value for value in values if value is not None]
    if not known:
        return NOTHING
    if len(known) == 1:
        return f"{known[0]:.{digits}f}"
    return f"{mean(known):.{digits}f} ± {stdev(known):.{digits}f}"


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
    ready = timer(run_in(slim, ONNXRUNTIME.name, threads=1, batch=1), sample_image(slim))
    ready()
    try:
        difference = error_of(dense, images, slim)
    except RuntimeError as error:
        raise GraphError(f"its outputs cannot be compared: {error}") from error
    accuracy = None if judge is None else judge.judge(slim)
    return replace(row, error=difference, accuracy=accuracy), ready


def _write(folder: Path, made: Made) -> None:
    folder.mkdir()
    if made.cut is None:
        made.slim.save(folder / "slim.onnx")
    else:
        write_cut(folder, made.cut)
