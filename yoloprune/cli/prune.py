"""`yoloprune prune`: the main job."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from yoloprune.cli.console import ConsoleReporter, print_result
from yoloprune.cli.engine_options import (
    DecoderName,
    Device,
    EngineName,
    PreprocessText,
    Threads,
)
from yoloprune.cli.export import Decode
from yoloprune.cli.flags import given
from yoloprune.cli.networks import command_line, count_or_warn, only_model
from yoloprune.cli.options import (
    AnyNetwork,
    CalibrationImages,
    Json,
    MultipleOf,
    Quiet,
    Seed,
)
from yoloprune.data.calibration import read_calibration
from yoloprune.devices import AUTO
from yoloprune.engines.table import engine_named
from yoloprune.errors import UsageError
from yoloprune.exporters.interface import OnnxForm, form_of
from yoloprune.exporters.onnx import require_onnx
from yoloprune.graph.model import Model
from yoloprune.pruning.choices import Compensation, Scope
from yoloprune.pruning.groups import analyze
from yoloprune.pruning.recover.network import Recovery
from yoloprune.pruning.score.on_weights import CRITERIA, MEASURED_CRITERIA
from yoloprune.pruning.torch_pruning_check import CrossCheck, cross_check
from yoloprune.report.pruning import cross_check_lines, opinion_line
from yoloprune.reporter import Reporter
from yoloprune.workflows.chosen_point import point_line, read_point, take_point
from yoloprune.workflows.cut import Cut, refuse_to_replace
from yoloprune.workflows.defaults import ON_IMAGES, PRUNING
from yoloprune.workflows.prune import prune as prune_network
from yoloprune.workflows.prune_depth import prune_with_depth
from yoloprune.workflows.recover import recover
from yoloprune.workflows.timing import ENGINE, timed

WITH_FROM = ("point", "out", "as_json", "quiet")
"""The options that go with --from, by parameter."""


def prune(
    context: typer.Context,
    words: AnyNetwork,
    out: Annotated[Path, typer.Option("--out", help="Folder for the slim network and report.")],
    point: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="SWEEP.json#N",
            help="Write network N of `sweep --levers`, and prune nothing else.",
        ),
    ] = None,
    classes: Annotated[
        str | None,
        typer.Option(
            "--classes",
            metavar="NAME,...",
            help="First cut the heads to these classes, by name or number: no score of theirs "
            "changes. Limits are then shares of what is left, and none is needed.",
        ),
    ] = None,
    silent_below: Annotated[
        float | None,
        typer.Option(
            "--silent-below",
            metavar="SCORE",
            help="First remove scales, and anchors (Darknet), of which no box scores more on any "
            "of --images.",
        ),
    ] = None,
    keep_macs: Annotated[
        float | None,
        typer.Option("--keep-macs", help="Fraction of the MACs to keep; limits may be combined."),
    ] = None,
    keep_params: Annotated[
        float | None, typer.Option("--keep-params", help="Fraction of the parameters to keep.")
    ] = None,
    keep_channels: Annotated[
        float | None, typer.Option("--keep-channels", help="Fraction of the channels to keep.")
    ] = None,
    keep_bytes: Annotated[
        float | None,
        typer.Option("--keep-bytes", help="Fraction of the bytes of the weights to keep."),
    ] = None,
    keep_ms: Annotated[
        float | None,
        typer.Option("--keep-ms", help="Fraction of the time to keep, by layers that are timed."),
    ] = None,
    engine: EngineName = ENGINE,
    threads: Threads = None,
    timings: Annotated[
        Path | None,
        typer.Option(
            "--timings", help="Times of layers that were measured elsewhere, for --keep-ms."
        ),
    ] = None,
    time: Annotated[
        bool,
        typer.Option("--time/--no-time", help="Time slim beside dense, where the engine is there."),
    ] = True,
    min_channels: Annotated[
        int, typer.Option("--min-channels", min=1, help="Fewest channels that a group keeps.")
    ] = PRUNING.min_channels,
    multiple_of: MultipleOf = None,
    max_layer_cut: Annotated[
        float, typer.Option("--max-layer-cut", help="Largest fraction that a group may lose.")
    ] = PRUNING.max_layer_cut,
    criterion: Annotated[
        str | None,
        typer.Option(
            "--criterion",
            help=", ".join((*CRITERIA, *MEASURED_CRITERIA)),
            show_default=f"{PRUNING.criterion}; {ON_IMAGES} with --images",
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
    seed: Seed = PRUNING.seed,
    images: Annotated[
        Path | None,
        typer.Option(
            "--images",
            help="Score channels and re-fit kernels on these images, without labels; verify on "
            "some too.",
        ),
    ] = None,
    refit: Annotated[
        bool, typer.Option("--refit/--no-refit", help="Re-fit kernels on --images.")
    ] = True,
    reconstruct: Annotated[
        Path | None,
        typer.Option("--reconstruct", help="Re-fit kernels on these images, whatever scores."),
    ] = None,
    depth: Annotated[
        bool,
        typer.Option(
            "--depth",
            help="Remove residual blocks and branches too, as far as that costs less (with "
            "--images).",
        ),
    ] = False,
    recalibrate: Annotated[
        Path | None,
        typer.Option("--recalibrate", help="Then adapt batch norms only, on these images."),
    ] = None,
    calibration_images: CalibrationImages = None,
    onnx: Annotated[bool, typer.Option("--onnx", help="Also write slim.onnx.")] = False,
    decode: Decode = None,
    check_groups: Annotated[
        bool, typer.Option("--cross-check", help="Compare groups with Torch-Pruning's first.")
    ] = False,
    device: Device = AUTO,
    preprocess: PreprocessText = None,
    decoder: DecoderName = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Remove channels to meet a budget; prove, write and report the slim network."""
    asked = given(context)
    limits = {
        "macs": keep_macs,
        "params": keep_params,
        "channels": keep_channels,
        "bytes": keep_bytes,
        "ms": keep_ms,
    }
    keep = {name: share for name, share in limits.items() if share is not None}
    if point is not None:
        others = [flag for name, flag in asked.items() if name not in WITH_FROM]
        if others:
            raise UsageError(
                f"--from writes what the sweep made, without {', '.join(others)}: it goes with "
                "--out, --json and --quiet alone"
            )
        _take(words, point, out, as_json=as_json, quiet=quiet)
        return
    if not keep and classes is None and silent_below is None:
        raise UsageError(
            "give at least one of --keep-macs, --keep-params, --keep-channels, --keep-bytes, "
            "--keep-ms"
        )
    if timings is not None and keep_ms is None:
        raise UsageError("--timings goes with --keep-ms")
    if decoder is not None and classes is None and silent_below is None:
        raise UsageError("--decoder goes with --classes or --silent-below")
    if reconstruct is not None and recalibrate is not None:
        raise UsageError("give --reconstruct or --recalibrate, not both: re-fitting does it all")
    seen = reconstruct or images
    if depth and (seen is None or not keep or classes or silent_below is not None):
        raise UsageError(
            "--depth goes with --images and a limit, and without --classes and --silent-below: cut "
            "to those first"
        )
    if "engine" in asked:
        # It was wanted: what cannot be timed in it is not written as if it had been.
        engine_named(engine).require()
    reporter = ConsoleReporter(quiet=quiet or as_json)
    network = only_model(words)
    refuse_to_replace(out, network)
    form = _onnx_form(network, decode) if onnx else None
    if decode is not None and not onnx:
        reporter.warn("--decode and --raw are ignored without --onnx")
    recover_on = reconstruct or recalibrate
    learns = refit or criterion is None or criterion in MEASURED_CRITERIA
    used = recover_on is not None or (images is not None and bool(keep) and learns)
    count, calibration = count_or_warn(calibration_images, reporter, used=used), None
    if (fitted_on := recover_on or (seen if depth else None)) is not None:
        calibration = read_calibration(network, fitted_on, count, seed, reporter, preprocess)
    groups = _traced(network, reporter) if check_groups else None
    settings: dict[str, Any] = {
        "criterion": criterion,
        "scope": scope,
        "compensation": compensation,
        "min_channels": min_channels,
        "multiple_of": multiple_of,
        "max_layer_cut": max_layer_cut,
        "images": images,
        "calibration": calibration,
        "seed": seed,
        "preprocess": preprocess,
        "engine": engine,
        "threads": threads,
        "timings": timings,
        "device": device,
        "reporter": reporter,
    }
    if depth:
        cut = prune_with_depth(network, keep, made_by=command_line(), **settings)
    else:
        cut = prune_network(
            network,
            keep,
            classes=() if classes is None else [name.strip() for name in classes.split(",")],
            silent_below=silent_below,
            decoder=decoder,
            calibration_images=count,
            refit=refit and recover_on is None,
            **settings,
        )
    opinion = "not asked for" if groups is None else opinion_line(groups)
    cut = replace(cut, settings={**cut.settings, "cross_check": opinion}, made_by=command_line())
    if cut.recovery is not None:
        cut = replace(cut, recovery={**cut.recovery, "made_by": command_line()})
    if calibration is not None and recover_on is not None and not depth:
        cut = recover(
            cut,
            calibration,
            method=Recovery.RECALIBRATE if reconstruct is None else Recovery.RECONSTRUCT,
            seed=seed,
            made_by=command_line(),
            device=device,
            reporter=reporter,
        )
    if time:
        cut = timed(cut, engine, threads, reporter)
    if form is not None:
        form = replace(form, names=cut.slim.document.names)
    names = cut.save(out, onnx=form, reporter=reporter)
    more = [] if groups is None else cross_check_lines(groups)
    more.append(f"wrote {out}/: {', '.join(names)}")
    print_result(cut.shown(), more, as_json=as_json, quiet=quiet)


def _take(words: list[str], point: str, out: Path, *, as_json: bool, quiet: bool) -> None:
    sweep, mark, number = point.rpartition("#")
    if not mark or not re.fullmatch("[0-9]{1,9}", number):
        raise UsageError(f"--from {point}: name a file and a number in it: sweep.json#7")
    found = take_point(
        only_model(words),
        sweep,
        int(number),
        out,
        made_by=command_line(),
        reporter=ConsoleReporter(quiet=quiet or as_json),
    )
    told = [point_line(read_point(sweep, int(number)))] if isinstance(found, Cut) else []
    print_result(found.shown(), [*told, f"wrote {out}/"], as_json=as_json, quiet=quiet)


def _onnx_form(network: Model, decode: bool | None) -> OnnxForm:
    """How slim.onnx is written; an error now, for pruning takes its time."""
    if network.document.suffix == ".onnx":
        raise UsageError("--onnx goes with a Darknet network: of an .onnx the slim one is an .onnx")
    require_onnx()
    return form_of(network, decode=decode)


def _traced(network: Model, reporter: Reporter) -> CrossCheck:
    with reporter.stage("tracing with Torch-Pruning"):
        return cross_check(analyze(network.graph))
