"""`yoloprune iterate`: prune a small step, fine-tune, until the target."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated

import typer

from yoloprune.cli.console import ConsoleReporter, print_result
from yoloprune.cli.engine_options import Device
from yoloprune.cli.networks import command_line, count_or_warn, only_model
from yoloprune.cli.options import (
    Accumulate,
    AllowFaulty,
    BatchSize,
    CalibrationImages,
    DataPath,
    Exclude,
    HoldOut,
    ImageSize,
    Json,
    LearningRate,
    NetworkWords,
    Precision,
    ProtocolName,
    Quiet,
    Resume,
    RoundTo,
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
from yoloprune.workflows.defaults import ITERATION, PRUNING
from yoloprune.workflows.iterate import iterate as iterate_network
from yoloprune.workflows.training_data import TrainingSource


class MethodName(StrEnum):
    """What goes with each step."""

    CHANNELS = "channels"
    WEIGHTS = "weights"


def iterate(
    words: NetworkWords,
    data: DataPath,
    out: RunPath,
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
        str, typer.Option("--criterion", help="Channel criterion (see `prune`).")
    ] = PRUNING.criterion,
    round_to: RoundTo = None,
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
    seed: Seed = STEP.seed,
    resume: Resume = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Prune in small steps with fine-tuning between them; `--resume` continues a stopped run."""
    reporter = ConsoleReporter(quiet=quiet or as_json)
    if finetune_every > 1 and not reconstruct:
        raise UsageError(
            "--finetune-every needs --reconstruct: without either, accuracy is lost at each step"
        )
    _refuse_others_options(
        method,
        channels={
            "--reconstruct": reconstruct,
            "--criterion": criterion != PRUNING.criterion,
            "--round-to": round_to is not None,
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
            multiple_of=round_to,
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
