"""`yoloprune iterate`: prune a small step, fine-tune or re-fit, until the target."""

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from yoloprune.cli.console import ConsoleReporter, print_result
from yoloprune.cli.engine_options import DecoderName, Device, PreprocessText
from yoloprune.cli.networks import command_line, count_or_warn, only_model
from yoloprune.cli.options import (
    Accumulate,
    AllowFaulty,
    AnyNetwork,
    BatchSize,
    CalibrationImages,
    Exclude,
    HoldOut,
    ImageSize,
    Json,
    LearningRate,
    MultipleOf,
    Precision,
    ProtocolName,
    Quiet,
    Resume,
    RunPath,
    Seed,
    TrainSplit,
    ValSplit,
    Workers,
)
from yoloprune.cli.sparsify import excluded
from yoloprune.cli.training import asked_size, training_errors
from yoloprune.devices import AUTO
from yoloprune.errors import UsageError
from yoloprune.pruning.choices import Scope
from yoloprune.pruning.score.on_weights import MEASURED_CRITERIA
from yoloprune.pruning.weights.masks import Pattern
from yoloprune.training.config import STEP
from yoloprune.training.peers import is_first
from yoloprune.workflows.choices import Schedule
from yoloprune.workflows.defaults import ITERATION, ON_IMAGES, PRUNING
from yoloprune.workflows.iterate import iterate as iterate_network
from yoloprune.workflows.iterate_on_images import iterate_on_images
from yoloprune.workflows.training_data import TrainingSource


class MethodName(StrEnum):
    """What goes with each step."""

    CHANNELS = "channels"
    WEIGHTS = "weights"


def iterate(
    words: AnyNetwork,
    out: RunPath,
    data: Annotated[
        Path | None,
        typer.Option("--data", help="Folder, data.yaml, .data or COCO .json to fine-tune on."),
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option(
            "--images",
            help="Do not train: re-fit each step on these images; --data then judges alone.",
        ),
    ] = None,
    method: Annotated[
        MethodName, typer.Option("--method", help="Remove channels, or zero single weights.")
    ] = MethodName.CHANNELS,
    keep_macs: Annotated[
        float | None,
        typer.Option("--keep-macs", help="Final fraction of the dense MACs (--method channels)."),
    ] = None,
    sparsity: Annotated[
        float | None,
        typer.Option("--sparsity", help="Final fraction of zero weights (--method weights)."),
    ] = None,
    step: Annotated[
        float, typer.Option("--step", help="Fraction of the dense network to remove in each step.")
    ] = ITERATION.step,
    schedule: Annotated[
        Schedule, typer.Option("--schedule", help="Equal steps, or large ones first.")
    ] = ITERATION.schedule,
    epochs_per_step: Annotated[
        int, typer.Option("--epochs-per-step", min=1, help="Fine-tuning epochs after each step.")
    ] = STEP.epochs,
    layerwise: Annotated[
        bool,
        typer.Option("--layerwise", help="The same fraction of every layer, not a global rank."),
    ] = False,
    criterion: Annotated[
        str | None,
        typer.Option(
            "--criterion",
            help="Channel criterion (see `prune`).",
            show_default=f"{PRUNING.criterion}; {ON_IMAGES} with --images",
        ),
    ] = None,
    multiple_of: MultipleOf = None,
    pattern: Annotated[
        Pattern, typer.Option("--pattern", help="Weight pattern (see `sparsify`).")
    ] = Pattern.UNSTRUCTURED,
    exclude: Exclude = "",
    reconstruct: Annotated[
        bool, typer.Option("--reconstruct", help="Re-fit after each cut, on training images.")
    ] = False,
    finetune_every: Annotated[
        int,
        typer.Option(
            "--finetune-every", min=1, help="With --reconstruct: fine-tune every N steps."
        ),
    ] = ITERATION.finetune_every,
    calibration_images: CalibrationImages = None,
    map_floor: Annotated[
        float | None,
        typer.Option(
            "--map-floor", min=0, max=1, help="Stop when mAP@0.5, by --protocol, falls under this."
        ),
    ] = None,
    error_ceiling: Annotated[
        float | None,
        typer.Option(
            "--error-ceiling",
            min=0,
            help="With --images: stop when the error at the outputs rises above this.",
        ),
    ] = None,
    train_split: TrainSplit = None,
    val_split: ValSplit = None,
    allow_faulty: AllowFaulty = False,
    hold_out: HoldOut = 0.0,
    protocol: ProtocolName = STEP.protocol,
    batch_size: BatchSize = STEP.batch_size,
    accumulate: Accumulate = STEP.accumulate,
    image_size: ImageSize = None,
    learning_rate: LearningRate = STEP.learning_rate,
    precision: Precision = STEP.precision,
    workers: Workers = STEP.workers,
    device: Device = AUTO,
    preprocess: PreprocessText = None,
    decoder: DecoderName = None,
    seed: Seed = STEP.seed,
    resume: Resume = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Prune in small steps with fine-tuning between them; `--resume` continues a stopped run.

    With --images nothing is trained: each step is scored and re-fitted anew, on images without
    labels. That goes for any network.
    """
    reporter = ConsoleReporter(quiet=quiet or as_json)
    if images is not None:
        _refuse_training(
            {
                "--method weights": method is not MethodName.CHANNELS or sparsity is not None,
                "--finetune-every": finetune_every != ITERATION.finetune_every,
                "--epochs-per-step": epochs_per_step != STEP.epochs,
                "--train-split": train_split is not None,
                "--protocol": protocol != STEP.protocol,
                "--batch-size": batch_size != STEP.batch_size,
                "--accumulate": accumulate != STEP.accumulate,
                "--learning-rate": learning_rate != STEP.learning_rate,
                "--precision": precision != STEP.precision,
                "--workers": workers != STEP.workers,
                "--hold-out": hold_out > 0,
                "--image-size": image_size is not None,
            }
        )
        if keep_macs is None:
            raise UsageError("--keep-macs says how far to prune: give a fraction in (0, 1)")
        found = iterate_on_images(
            only_model(words),
            images,
            out,
            keep_macs=keep_macs,
            step=step,
            schedule=schedule,
            scope=Scope.LAYER if layerwise else Scope.GLOBAL,
            criterion=criterion or ON_IMAGES,
            multiple_of=multiple_of,
            calibration_images=calibration_images or PRUNING.calibration_images,
            data=data,
            split=val_split,
            allow_faulty=allow_faulty,
            map_floor=map_floor,
            error_ceiling=error_ceiling,
            seed=seed,
            preprocess=preprocess,
            decoder=decoder,
            resume=resume,
            made_by=command_line(),
            device=device,
            reporter=reporter,
        )
        if is_first():
            print_result(found.shown(), as_json=as_json, quiet=quiet)
        return
    if data is None:
        raise UsageError("give --data to fine-tune on, or --images to re-fit on without labels")
    if (preprocess, decoder, error_ceiling) != (None, None, None):
        raise UsageError("--preprocess, --decoder and --error-ceiling go with --images alone")
    criterion = criterion or PRUNING.criterion
    if finetune_every > 1 and not reconstruct:
        raise UsageError(
            "--finetune-every needs --reconstruct: without either, accuracy is lost at each step"
        )
    _refuse_others_options(
        method,
        channels={
            "--reconstruct": reconstruct,
            "--criterion": criterion != PRUNING.criterion,
            "--multiple-of": multiple_of is not None,
        },
        weights={"--pattern": pattern is not Pattern.UNSTRUCTURED, "--exclude": bool(exclude)},
    )
    wanted, other = keep_macs, sparsity
    if method is MethodName.WEIGHTS:
        wanted, other = other, wanted
    if wanted is None or other is not None:
        raise UsageError(
            "give --keep-macs with --method channels, --sparsity with --method weights"
        )
    if sparsity == 0:
        raise UsageError("--sparsity 0 leaves nothing to do: give a fraction in (0, 1)")
    used = reconstruct or criterion in MEASURED_CRITERIA
    with training_errors(out):
        iterated = iterate_network(
            only_model(words),
            TrainingSource(
                path=data,
                train_split=train_split,
                val_split=val_split,
                hold_out=hold_out,
                allow_faulty=allow_faulty,
            ),
            out,
            keep_macs=keep_macs,
            sparsity=sparsity,
            step=step,
            schedule=schedule,
            scope=Scope.LAYER if layerwise else Scope.GLOBAL,
            criterion=criterion,
            multiple_of=multiple_of,
            pattern=pattern,
            exclude=excluded(exclude),
            reconstruct=reconstruct,
            finetune_every=finetune_every,
            calibration_images=count_or_warn(calibration_images, reporter, used=used),
            map_floor=map_floor,
            resume=resume,
            made_by=command_line(),
            device=device,
            reporter=reporter,
            epochs=epochs_per_step,
            protocol=protocol,
            batch_size=batch_size,
            accumulate=accumulate,
            learning_rate=learning_rate,
            precision=precision,
            workers=workers,
            seed=seed,
            **asked_size(image_size),
        )
    if is_first():
        print_result(iterated.shown(), as_json=as_json, quiet=quiet)


def _refuse_training(given: Mapping[str, bool]) -> None:
    """Raise `UsageError` for an option of training; the values say which are given."""
    for name, asked in given.items():
        if asked:
            raise UsageError(f"{name} goes with training: --images trains nothing")


def _refuse_others_options(
    method: MethodName, *, channels: Mapping[str, bool], weights: Mapping[str, bool]
) -> None:
    """Raise `UsageError` for an option of the other method; the values say which are given."""
    options, other = {
        MethodName.CHANNELS: (weights, MethodName.WEIGHTS),
        MethodName.WEIGHTS: (channels, MethodName.CHANNELS),
    }[method]
    for name, given in options.items():
        if given:
            raise UsageError(f"{name} goes with --method {other.value} alone")
