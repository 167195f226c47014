"""`yoloprune sweep`: mAP against MACs for several criteria, before any training."""

from pathlib import Path
from typing import Annotated

import typer

from yoloprune.cli.console import ConsoleReporter, print_result
from yoloprune.cli.engine_options import DecoderName, Device, PreprocessText
from yoloprune.cli.flags import given
from yoloprune.cli.networks import count_or_warn, first_model
from yoloprune.cli.options import (
    AllowFaulty,
    CalibrationImages,
    Json,
    MultipleOf,
    Quiet,
    Seed,
)
from yoloprune.devices import AUTO
from yoloprune.errors import UsageError
from yoloprune.pruning.choices import Compensation, Scope
from yoloprune.pruning.score.on_weights import CRITERIA, MEASURED_CRITERIA
from yoloprune.workflows.defaults import ON_IMAGES, PRUNING, QUANTIZATION, SWEEP
from yoloprune.workflows.levers import LEVERS, SHARES, pull_levers
from yoloprune.workflows.sweep import sweep as sweep_network

NOT_WITH_LEVERS = ("criterion", "scope", "compensation", "multiple_of", "device", "allow_faulty")
ONLY_WITH_LEVERS = ("keep_ms", "threads", "distill_minutes")
"""Options by parameter: those that --levers has no use for, and those that nothing else has."""


def sweep(
    context: typer.Context,
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="NETWORK [FRACTION]...",
            help="CFG WEIGHTS, NET.onnx, or a folder that holds one; and further fractions.",
        ),
    ],
    data: Annotated[
        Path | None,
        typer.Option("--data", help="Labeled images to evaluate on, as in `evaluate`."),
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option(
            "--images",
            help="Re-fit each network on these images, unlabeled, and foretell its mAP on others "
            "of them; without --data that is all.",
        ),
    ] = None,
    keep_macs: Annotated[
        list[float] | None,
        typer.Option(
            "--keep-macs", help="Fractions of the MACs to keep.", show_default="0.9 to 0.5"
        ),
    ] = None,
    keep_ms: Annotated[
        list[float] | None,
        typer.Option(
            "--keep-ms", help="For --levers: fractions of the time to keep, beside those of MACs."
        ),
    ] = None,
    criterion: Annotated[
        list[str] | None,
        typer.Option(
            "--criterion",
            help=", ".join((*CRITERIA, *MEASURED_CRITERIA)),
            show_default=f"all on weights that can rank this network; {ON_IMAGES} with --images",
        ),
    ] = None,
    scope: Annotated[
        Scope,
        typer.Option(
            "--scope", help="Rank channels globally, or prune each layer by the same fraction."
        ),
    ] = PRUNING.scope,
    compensation: Annotated[
        Compensation,
        typer.Option(
            "--compensation",
            "--compensate",
            help="How to preserve the constant output of removed channels.",
        ),
    ] = PRUNING.compensation,
    multiple_of: MultipleOf = None,
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
    seed: Seed = PRUNING.seed,
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder for sweep.json and sweep.png.")
    ] = None,
    levers: Annotated[
        str | None,
        typer.Option(
            "--levers",
            metavar="NAME,...",
            help=f"Instead try these alone and together, by time: {', '.join(LEVERS)}; needs "
            "--images, --data and --out, which every network is written into.",
        ),
    ] = None,
    threads: Annotated[
        int, typer.Option("--threads", min=1, help="For --levers: CPU threads to time with.")
    ] = QUANTIZATION.threads,
    distill_minutes: Annotated[
        float | None,
        typer.Option(
            "--distill",
            metavar="MINUTES",
            min=0.01,
            help="For --levers: train each pruned network for so long to give what the dense one "
            "gives.",
        ),
    ] = None,
    device: Device = AUTO,
    preprocess: PreprocessText = None,
    decoder: DecoderName = None,
    allow_faulty: AllowFaulty = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Show how mAP@0.5 (coco) falls with the MACs, for each criterion, without fine-tuning.

    An ONNX network whose outputs no decoder knows is judged by the error at these. With --images,
    networks are re-fitted first, and their mAP is foretold before it is measured.
    """
    useless = NOT_WITH_LEVERS if levers is not None else ONLY_WITH_LEVERS
    if flags := [flag for name, flag in given(context).items() if name in useless]:
        which = "has no use for" if levers is not None else "is what goes with"
        raise UsageError(f"--levers {which} {', '.join(flags)}")
    reporter = ConsoleReporter(quiet=quiet or as_json)
    network, more = first_model(words)
    if out is not None and out.exists() and not out.is_dir():
        raise UsageError(f"{out} is a file: choose another --out")
    if more and keep_macs and keep_ms:
        raise UsageError(
            f"{more[0]!r} may be of --keep-macs or of --keep-ms: repeat the option for each "
            "fraction"
        )
    shares, ms_shares = list(keep_macs or ()), list(keep_ms or ())
    (ms_shares if keep_ms else shares).extend(map(_share, more))
    if levers is not None:
        if images is None or out is None or data is None:
            raise UsageError("--levers needs --images, --data and --out")
        pulled = pull_levers(
            network,
            data,
            images,
            out,
            levers=[name.strip() for name in levers.split(",")],
            shares=shares or (() if ms_shares else SHARES),
            ms_shares=ms_shares,
            split=split,
            limit=limit,
            calibration_images=calibration_images or PRUNING.calibration_images,
            seed=seed,
            distill_minutes=distill_minutes,
            threads=threads,
            preprocess=preprocess,
            decoder=decoder,
            reporter=reporter,
        )
        written = [
            f"wrote {out}/: sweep.json, sweep.png and a folder for each network; `prune --from "
            f"{out}/sweep.json#N` writes one"
        ]
        print_result(pulled.shown(), written, as_json=as_json, quiet=quiet)
        return
    used = images is not None or not set(criterion or ()).isdisjoint(MEASURED_CRITERIA)
    found = sweep_network(
        network,
        data,
        images=images,
        criteria=criterion or None,
        shares=shares or SWEEP.shares,
        scope=scope,
        compensation=compensation,
        multiple_of=multiple_of,
        calibration_images=count_or_warn(calibration_images, reporter, used=used),
        split=split,
        limit=limit,
        seed=seed,
        allow_faulty=allow_faulty,
        device=device,
        preprocess=preprocess,
        decoder=decoder,
        reporter=reporter,
    )
    written = []
    if out is not None:
        written = [f"wrote {', '.join(str(out / name) for name in found.save(out))}"]
    print_result(found.shown(), written, as_json=as_json, quiet=quiet)


def _share(word: str) -> float:
    try:
        return float(word)
    except ValueError:
        raise UsageError(f"{word!r} is no fraction: give numbers in (0, 1)") from None
