"""`yoloprune compare`: several programs at equal MACs."""

from pathlib import Path
from typing import Annotated

import typer

from yoloprune.cli.console import ConsoleReporter, print_result
from yoloprune.cli.engine_options import DecoderName, Device, PreprocessText
from yoloprune.cli.networks import count_or_warn, only_model
from yoloprune.cli.options import (
    AllowFaulty,
    AnyNetwork,
    CalibrationImages,
    Json,
    Quiet,
    Seed,
)
from yoloprune.devices import AUTO
from yoloprune.errors import UsageError
from yoloprune.files import refuse_existing
from yoloprune.workflows.benchmark import RUNS
from yoloprune.workflows.compare import compare as compare_tools
from yoloprune.workflows.comparison.table import TOOLS
from yoloprune.workflows.defaults import PRUNING, SWEEP


def compare(
    words: AnyNetwork,
    budgets: Annotated[
        str, typer.Option("--budgets", help="Fractions of the MACs to keep, comma-separated.")
    ] = ",".join(map(str, SWEEP.shares)),
    tools: Annotated[
        str | None,
        typer.Option("--tools", help=f"Comma-separated: {', '.join(TOOLS)}.", show_default="all"),
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option("--images", help="Images to learn from (folder, list or .data), unlabeled."),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option("--data", help="Labeled images to evaluate on, as in `evaluate`."),
    ] = None,
    split: Annotated[
        str | None,
        typer.Option(
            "--split",
            help="Split of --data to evaluate on.",
            show_default="a tenth of train, which `--hold-out 0.1` sets aside",
        ),
    ] = None,
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, help="Evaluate on the first N images only.")
    ] = None,
    multiple_of: Annotated[
        int,
        typer.Option(
            "--multiple-of",
            "--round-to",
            min=1,
            help="Round kept channels to multiples of this; MACs are then less equal.",
        ),
    ] = 1,
    calibration_images: CalibrationImages = None,
    runs: Annotated[int, typer.Option("--runs", min=1, help="Timed runs of each network.")] = RUNS,
    seed: Seed = PRUNING.seed,
    seeds: Annotated[
        int,
        typer.Option(
            "--seeds", min=1, help="Choices of images, and lots, of tools that depend on them."
        ),
    ] = 1,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Folder for the slim networks, compare.json and compare.md."),
    ] = None,
    device: Device = AUTO,
    preprocess: PreprocessText = None,
    decoder: DecoderName = None,
    allow_faulty: AllowFaulty = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Thin a network with several programs to the same MACs; print time, error and mAP of each."""
    reporter = ConsoleReporter(quiet=quiet or as_json)
    if out is not None:
        refuse_existing(out)
    found = compare_tools(
        only_model(words),
        budgets=[_share(word) for word in budgets.split(",")],
        tools=None if tools is None else [word.strip() for word in tools.split(",")],
        images=images,
        data=data,
        split=split,
        limit=limit,
        allow_faulty=allow_faulty,
        multiple_of=multiple_of,
        calibration_images=count_or_warn(calibration_images, reporter, used=images is not None),
        runs=runs,
        seed=seed,
        seeds=seeds,
        device=device,
        preprocess=preprocess,
        decoder=decoder,
        reporter=reporter,
    )
    written = []
    if out is not None:
        written = [f"wrote {out}/: {', '.join(found.save(out))}"]
    print_result(found.shown(), written, as_json=as_json, quiet=quiet)


def _share(word: str) -> float:
    try:
        return float(word)
    except ValueError:
        raise UsageError(f"--budgets {word!r} is no fraction of MACs") from None
