"""`yoloprune sweep`: mAP against MACs for several criteria, before any training."""

import json
from contextlib import nullcontext
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from yoloprune.cli.calibration import (
    Calibration,
    CalibrationImages,
    choose_calibration,
    images_to_use,
)
from yoloprune.cli.console import (
    ConsoleReporter,
    Json,
    Quiet,
    output,
    print_json,
    print_table,
)
from yoloprune.cli.labelled import AllowFaulty, say_remarks
from yoloprune.cli.measured import measured_scores
from yoloprune.cli.networks import first_network
from yoloprune.cli.rounding import RoundTo
from yoloprune.darknet.parser import read_cfg
from yoloprune.darknet.spec import NetworkSpec, class_count
from yoloprune.darknet.state import State
from yoloprune.darknet.weights import read_weights
from yoloprune.data.dataset import Dataset
from yoloprune.data.read import read_dataset
from yoloprune.data.split import hold_out
from yoloprune.errors import DatasetError, PlanError, UsageError
from yoloprune.evaluation.evaluator import evaluate
from yoloprune.files import write_text
from yoloprune.locks import locked
from yoloprune.model.network import Network
from yoloprune.pruning.budget import Scope
from yoloprune.pruning.importance import CRITERIA, MEASURED_CRITERIA
from yoloprune.pruning.plan import Budget, Compensation
from yoloprune.pruning.pruner import check_budget
from yoloprune.report.sweep_plot import write_sweep_picture
from yoloprune.reporter import Reporter
from yoloprune.sweep import SweepPoint
from yoloprune.sweep import sweep as sweep_network

SHARES = (0.9, 0.8, 0.7, 0.6, 0.5)

HELD_OUT = 0.1
"""Share of the training images, as the case study holds out."""


def sweep(
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="CFG WEIGHTS [SHARE]...", help="Network (or its folder), and further shares."
        ),
    ],
    data: Annotated[Path, typer.Option("--data", help="Folder, data.yaml, .data or COCO .json.")],
    keep_macs: Annotated[
        list[float] | None,
        typer.Option("--keep-macs", help="Shares of the MACs to keep.", show_default="0.9 to 0.5"),
    ] = None,
    criterion: Annotated[
        list[str] | None,
        typer.Option(
            "--criterion",
            help=", ".join((*CRITERIA, *MEASURED_CRITERIA)),
            show_default="all that look at weights alone",
        ),
    ] = None,
    scope: Annotated[
        Scope, typer.Option("--scope", help="Rank over the whole network, or cut layers alike.")
    ] = Scope.GLOBAL,
    compensate: Annotated[
        Compensation,
        typer.Option("--compensate", help="Where the constants of removed channels go."),
    ] = Compensation.NONE,
    round_to: RoundTo = None,
    calibration_images: CalibrationImages = None,
    split: Annotated[
        str | None,
        typer.Option(
            "--split",
            help="Split to evaluate on.",
            show_default="a tenth of train, which `--hold-out 0.1` sets aside",
        ),
    ] = None,
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, help="Evaluate on the first N images only.")
    ] = None,
    seed: Annotated[
        int, typer.Option("--seed", min=0, max=2**63 - 1, help="Seed of what is random.")
    ] = 0,
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder for sweep.json and sweep.png.")
    ] = None,
    allow_faulty: AllowFaulty = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Show how mAP@0.5 (coco) falls with the MACs, for each criterion, without fine-tuning."""
    reporter = ConsoleReporter(quiet=quiet or as_json)
    (cfg, weights), more = first_network(words)
    shares = sorted({*(keep_macs or ()), *map(_share, more)} or set(SHARES), reverse=True)
    if not all(0 < share < 1 for share in shares):
        raise UsageError(f"shares of MACs to keep must be in (0, 1), not {shares}")
    spec = read_cfg(cfg)
    state = read_weights(weights, spec)
    dataset = _images(data, class_count(spec), split, limit, allow_faulty)
    say_remarks(data, dataset, reporter)

    def accuracy(spec: NetworkSpec, state: State) -> float:
        return evaluate(Network.from_state(spec, state), dataset, "coco").map50

    criteria = list(dict.fromkeys(criterion or CRITERIA))
    if out is not None and out.exists() and not out.is_dir():
        raise UsageError(f"{out} is a file: choose another --out")
    looking = not set(criteria).isdisjoint(MEASURED_CRITERIA)
    count, calibration = images_to_use(calibration_images, reporter, used=looking), None
    if looking:
        least = Budget(keep_macs=shares[-1], multiple_of=round_to or 1)
        for name in criteria:
            check_budget(spec, state, least, name, compensation=compensate)
        calibration = _calibration(spec, data, dataset, count, seed, allow_faulty, reporter)
    measured = {}
    for name in criteria:
        scores = measured_scores(name, spec, state, calibration, seed=seed, reporter=reporter)
        if scores is not None:
            measured[name] = scores
    with nullcontext() if out is None else locked(out):
        found = sweep_network(
            spec,
            state,
            criteria=criteria,
            shares=shares,
            evaluate=accuracy,
            scope=scope,
            compensation=compensate,
            multiple_of=round_to,
            seed=seed,
            measured=measured,
        )
        dense = accuracy(spec, state)
        points = list(reporter.track(found, "sweeping", total=len(criteria) * len(shares)))
        split = split or "validation"
        document = {
            "split": split,
            "images": len(dataset.images),
            "dense": dense,
            "points": [asdict(point) for point in points],
        }
        if out is not None:
            write_text(out / "sweep.json", json.dumps(document, indent=1) + "\n")
            write_sweep_picture(out / "sweep.png", points, dense)
    if as_json:
        print_json(document)
        return
    print_table(
        f"mAP@0.5 (coco) on {len(dataset.images)} {split} images as pruned; dense {dense:.4f}",
        ("MACs kept", *criteria),
        _rows(points, criteria, len(shares)),
    )
    if out is not None:
        output.print(f"wrote {out / 'sweep.json'}, {out / 'sweep.png'}")


def _share(word: str) -> float:
    try:
        return float(word)
    except ValueError:
        raise PlanError(f"{word!r} is no share of MACs: give numbers in (0, 1)") from None


def _calibration(
    spec: NetworkSpec,
    data: Path,
    judged: Dataset,
    count: int,
    seed: int,
    allow_faulty: bool,
    reporter: Reporter,
) -> Calibration:
    """Training images, without those that the networks are judged by."""
    training = read_dataset(
        data, classes=class_count(spec), split="train", allow_faulty=allow_faulty
    )
    others = {image.path for image in judged.images}
    paths = [image.path for image in training.images if image.path not in others]
    if not paths:
        raise DatasetError(f"{data}: no training image is left to score on: choose another --split")
    return choose_calibration(spec, data, paths, count, seed, reporter)


def _images(
    data: Path, classes: int, split: str | None, limit: int | None, allow_faulty: bool
) -> Dataset:
    """The split, or those training images by which a budget can be chosen without the test set."""
    read = partial(read_dataset, data, classes=classes, allow_faulty=allow_faulty)
    if split is not None:
        return read(split=split, limit=limit)
    held_out = hold_out(read(split="train"), HELD_OUT)[1]
    return replace(held_out, images=held_out.images[:limit])


def _rows(points: list[SweepPoint], criteria: list[str], shares: int) -> list[tuple[str, ...]]:
    """A row a share, a column a criterion: the points come criterion by criterion."""
    columns = [points[number * shares : (number + 1) * shares] for number in range(len(criteria))]
    return [
        (
            # Each criterion meets the budget by another hair.
            f"{max(point.keep_macs for point in row):.3f}",
            *(f"{point.accuracy:.4f}" for point in row),
        )
        for row in zip(*columns, strict=True)
    ]
