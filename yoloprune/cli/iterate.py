"""`yoloprune iterate`: prune a small step, fine-tune, until the target."""

import json
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from yoloprune.cli.calibration import CalibrationImages, choose_calibration, images_to_use
from yoloprune.cli.console import ConsoleReporter, Quiet, output, print_table
from yoloprune.cli.iteration import Channels, Method, Weights
from yoloprune.cli.labelled import AllowFaulty
from yoloprune.cli.networks import NetworkWords, only_network
from yoloprune.cli.rounding import RoundTo, usually_rounded
from yoloprune.cli.sparsify import Exclude, excluded, warn_of_pattern
from yoloprune.cli.steps import SCHEDULE, Steps, same_json
from yoloprune.cli.training import (
    Accumulate,
    AskedSize,
    BatchSize,
    DataPath,
    HoldOut,
    LearningRate,
    Precision,
    ProtocolName,
    Resume,
    RunPath,
    Seed,
    Workers,
    stoppable,
    training_size,
)
from yoloprune.cli.training_data import TrainSplit, ValSplit, training_data
from yoloprune.darknet.cost import cost
from yoloprune.darknet.parser import read_cfg
from yoloprune.darknet.spec import NetworkSpec
from yoloprune.darknet.weights import read_weights
from yoloprune.data.fingerprint import fingerprint
from yoloprune.documents import read_document
from yoloprune.errors import CheckpointError, PlanError, UsageError
from yoloprune.evaluation.evaluator import DEFAULT_PROTOCOL
from yoloprune.files import file_sha256, write_text
from yoloprune.pruning.budget import Scope
from yoloprune.pruning.importance import MEASURED_CRITERIA
from yoloprune.pruning.plan import Budget
from yoloprune.reporter import Reporter
from yoloprune.schedule import Schedule, ScheduledNetwork, step_targets
from yoloprune.schedule import iterate as run_schedule
from yoloprune.sparsity.masks import MaskSettings, Pattern
from yoloprune.training.checkpoint import BEFORE
from yoloprune.training.config import TrainingConfig
from yoloprune.training.distributed import world
from yoloprune.training.run_folder import CHECKPOINT


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
        typer.Option("--keep-macs", help="Channels: share of the dense MACs at the end."),
    ] = None,
    sparsity: Annotated[
        float | None,
        typer.Option("--sparsity", help="Weights: share of zeros at the end; `train` has a lasso."),
    ] = None,
    step: Annotated[
        float, typer.Option("--step", help="Share of the dense network that goes with each step.")
    ] = 0.05,
    schedule: Annotated[
        Schedule, typer.Option("--schedule", help="Equal steps, or large ones first.")
    ] = Schedule.LINEAR,
    epochs_per_step: Annotated[
        int, typer.Option("--epochs-per-step", min=1, help="Fine-tuning epochs after each step.")
    ] = 2,
    layerwise: Annotated[
        bool, typer.Option("--layerwise", help="The same share of every layer, not a global rank.")
    ] = False,
    criterion: Annotated[
        str, typer.Option("--criterion", help="Of channels, as for `prune`.")
    ] = "l2",
    round_to: RoundTo = None,
    pattern: Annotated[
        Pattern, typer.Option("--pattern", help="Of weights, as for `sparsify`.")
    ] = Pattern.UNSTRUCTURED,
    exclude: Exclude = "",
    reconstruct: Annotated[
        bool, typer.Option("--reconstruct", help="Re-fit after each cut, on training images.")
    ] = False,
    finetune_every: Annotated[
        int,
        typer.Option(
            "--finetune-every", min=1, help="With --reconstruct: fine-tune every so many steps."
        ),
    ] = 1,
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
    protocol: ProtocolName = DEFAULT_PROTOCOL,
    batch_size: BatchSize = 16,
    accumulate: Accumulate = 1,
    image_size: AskedSize = None,
    learning_rate: LearningRate = 0.005,
    precision: Precision = "float32",
    workers: Workers = 1,
    seed: Seed = 0,
    resume: Resume = False,
    quiet: Quiet = False,
) -> None:
    """Prune in small steps with fine-tuning between them; `--resume` goes on after a stop."""
    reporter = ConsoleReporter(quiet=quiet)
    if finetune_every > 1 and not reconstruct:
        raise UsageError(
            "--finetune-every needs --reconstruct: without either, accuracy is lost at each step"
        )
    _refuse_others_options(
        method,
        channels={
            "--reconstruct": reconstruct,
            "--criterion": criterion != "l2",
            "--round-to": round_to is not None,
        },
        weights={"--pattern": pattern is not Pattern.UNSTRUCTURED, "--exclude": bool(exclude)},
    )
    if sparsity == 0:
        raise UsageError("--sparsity 0 leaves nothing to do: give a share in (0, 1)")
    cfg, weights = only_network(words)
    spec = read_cfg(cfg)
    state = read_weights(weights, spec)
    config = TrainingConfig(
        epochs=epochs_per_step,
        batch_size=batch_size,
        accumulate=accumulate,
        image_size=training_size(spec, image_size),
        learning_rate=learning_rate,
        warmup=0.2,
        protocol=protocol,  # type: ignore[arg-type]
        precision=precision,  # type: ignore[arg-type]
        workers=workers,
        seed=seed,
    )
    training, validation = training_data(
        spec,
        data,
        hold_out,
        train_split=train_split,
        val_split=val_split,
        allow_faulty=allow_faulty,
        reporter=reporter,
    )
    measured = reconstruct or criterion in MEASURED_CRITERIA
    count, calibration = images_to_use(calibration_images, reporter, used=measured), None
    if measured:
        paths = [image.path for image in training.images]
        calibration = choose_calibration(spec, data, paths, count, seed, reporter)
    scope = Scope.LAYER if layerwise else Scope.GLOBAL
    pruning: Method
    if method is MethodName.WEIGHTS and sparsity is not None and keep_macs is None:
        settings = MaskSettings(
            sparsity=sparsity, scope=scope, pattern=pattern, exclude=excluded(exclude)
        )
        keep, pruning = 1 - sparsity, Weights(settings=settings)
    elif method is MethodName.CHANNELS and keep_macs is not None and sparsity is None:
        keep = keep_macs
        if round_to is None:
            round_to = usually_rounded(spec, Budget(keep_macs=keep), reporter).multiple_of
        pruning = Channels(
            dense_macs=cost(spec).macs,
            criterion=criterion,
            scope=scope,
            round_to=round_to,
            seed=seed,
            calibration=calibration,
            reconstruct=reconstruct,
            reporter=reporter,
        )
    else:
        raise UsageError(
            "give --keep-macs with --method channels, --sparsity with --method weights"
        )
    asked = {
        "method": method.value,
        "keep_macs": keep_macs,
        # The settings of training have a sparsity of their own.
        "weight_sparsity": sparsity,
        "step": step,
        "schedule": schedule.value,
        "layerwise": layerwise,
        "criterion": criterion,
        # Nothing is said of 1, which is what runs of earlier versions rounded to.
        "round_to": None if round_to == 1 else round_to,
        "reconstruct": reconstruct,
        "finetune_every": finetune_every,
        "calibration_images": count if measured else None,
        "pattern": pattern.value,
        "exclude": exclude,
        "cfg": spec.digest(),
        "weights": file_sha256(weights),
        "hold_out": hold_out,
        "training_images": fingerprint(training),
        "validation_images": fingerprint(validation),
    }
    targets = step_targets(step, keep, schedule)
    with world() as here:
        steps = Steps(
            out=out,
            weights=weights,
            training=training,
            validation=validation,
            config=config,
            method=pruning,
            untrained=_untrained(len(targets), finetune_every),
            here=here,
            reporter=reporter,
        )
        steps.check(spec, state, keep)
        idle = _idle(targets, pruning.kept(spec, state), pruning.unit)
        if here.is_first:
            _warn(spec, pruning, idle, reporter)
        with here.locked(out), stoppable(out, here):
            here.on_first(lambda: _begin(out, asked | config.decisive(), resume))
            networks = run_schedule(
                spec,
                state,
                step=step,
                keep=keep,
                schedule=schedule,
                prune=steps.prune,
                kept=pruning.kept,
                finetune=steps.finetune,
                evaluate=steps.evaluate,
                floor=map_floor,
                untrained=steps.untrained,
            )
            _follow(networks, steps, map_floor, quiet)


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


def _idle(targets: Sequence[float], reached: float, unit: str) -> int:
    """How many steps remove nothing; raises `PlanError` where none would remove anything."""
    # Less a little: of a share only whole weights go.
    idle = sum(share > reached - 1e-4 for share in targets)
    if idle == len(targets):
        raise PlanError(
            f"only {reached:.3g} of the {unit} are left already, which is no more than the target, "
            f"{targets[-1]:.3g}: choose a smaller one"
        )
    return idle


def _warn(spec: NetworkSpec, method: Method, idle: int, reporter: Reporter) -> None:
    if isinstance(method, Weights):
        warn_of_pattern(spec, method.settings, reporter)
    if idle:
        reporter.warn(f"the steps up to {idle} have no effect: the network is already smaller")


def _untrained(steps: int, finetune_every: int) -> frozenset[int]:
    """Numbers of the steps that are not fine-tuned: the last one always is."""
    return frozenset(number for number in range(1, steps) if number % finetune_every)


def _follow(
    networks: Iterable[ScheduledNetwork], steps: Steps, floor: float | None, quiet: bool
) -> None:
    """Keep the last good network and print how it goes."""
    here, out, unit = steps.here, steps.out, steps.method.unit
    measure = f"mAP@0.5 ({steps.config.protocol})"
    rows: list[tuple[int, str, str]] = []
    last_good: int | None = None
    for network in networks:
        accuracy = f"{network.accuracy:.4f}"
        mark = "" if network.judged else " (to be trained later)"
        rows.append((network.step, f"{network.kept:.3f}", accuracy + mark))
        good = floor is None or network.accuracy >= floor
        if not network.judged:
            remark = mark
        elif good:
            remark = ""
            last_good = network.step
            steps.keep(network)
        elif last_good is None:
            raise PlanError(
                f"the dense network's {measure} of {accuracy} is under --map-floor {floor:g}: "
                "choose a lower one"
            )
        else:
            remark = ", under the floor: stopped"
        if here.is_first and not quiet:
            output.print(
                f"step {network.step}: {network.kept:.3f} of {unit}, {measure} {accuracy}{remark}"
            )
    if here.is_first:
        print_table(
            "Iterative pruning",
            ("Step", f"{unit[0].upper()}{unit[1:]} kept", measure),
            rows,
        )
        output.print(f"{out}: best.cfg and best.weights are those of step {last_good}")


def _begin(out: Path, asked: Mapping[str, Any], resume: bool) -> None:
    """Write down what a run is started with, or refuse to go on with another one."""
    path = out / SCHEDULE
    if not path.exists():
        if (out / CHECKPOINT).exists():
            raise CheckpointError(f"{out} holds a training run: choose another --out")
        write_text(path, json.dumps(asked, indent=1) + "\n")
        return
    if not resume:
        raise CheckpointError(f"{out} holds a run: give --resume to go on, or another --out")
    was = BEFORE | read_document(path, dict[str, Any], fault=CheckpointError)
    names = {**was, **asked}
    changed = [name for name in names if not same_json(was.get(name), asked.get(name))]
    if changed:
        raise PlanError(
            f"{path}: this run was started with another {', '.join(changed)}: choose another --out"
        )
