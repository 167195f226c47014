"""`yoloprune iterate`: prune a small step, fine-tune, until the target."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from yoloprune.cli.calibration import CalibrationImages, choose_calibration
from yoloprune.cli.console import CfgPath, Quiet, WeightsPath, output, print_table
from yoloprune.cli.iteration import Channels, Method, Weights
from yoloprune.cli.sparsify import Exclude, excluded
from yoloprune.cli.training import (
    Accumulate,
    BatchSize,
    DataPath,
    HoldOut,
    ImageSize,
    LearningRate,
    Precision,
    Resume,
    RunPath,
    Seed,
    Workers,
    shown_training,
    training_data,
    training_side,
)
from yoloprune.cost import cost
from yoloprune.darknet.parser import read_cfg
from yoloprune.darknet.spec import NetworkSpec, with_input_size
from yoloprune.darknet.state import State
from yoloprune.darknet.weights import read_weights
from yoloprune.datasets.fingerprint import fingerprint
from yoloprune.datasets.labels import Dataset
from yoloprune.errors import CheckpointError, DatasetError, PlanError
from yoloprune.evaluation.evaluator import Protocol, evaluate
from yoloprune.files import file_sha256, write_folder, write_text
from yoloprune.model.network import Network
from yoloprune.pruning.budget import Scope
from yoloprune.pruning.selection import MEASURED_CRITERIA
from yoloprune.schedule import Pair, Schedule, ScheduledNetwork, step_targets
from yoloprune.schedule import iterate as run_schedule
from yoloprune.sparsity.masks import MaskSettings, Pattern
from yoloprune.training.config import TrainingConfig
from yoloprune.training.distributed import World, world
from yoloprune.training.engine import trainable_spec
from yoloprune.training.run_folder import CHECKPOINT, read_network, write_network

SCHEDULE = "schedule.json"
"""File of a run that says what it was started with."""

ACCURACY = "accuracy.json"
"""The last file of a step: its network's mAP, and what that was measured on."""

FINISHED = ("last.cfg", "last.weights", ACCURACY)
PROTOCOL: Protocol = "case-study"


class MethodName(StrEnum):
    """What goes with each step."""

    CHANNELS = "channels"
    WEIGHTS = "weights"


def iterate(
    cfg: CfgPath,
    weights: WeightsPath,
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
        float | None, typer.Option("--sparsity", help="Weights: share that is zero at the end.")
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
    calibration_images: CalibrationImages = 64,
    map_floor: Annotated[
        float | None,
        typer.Option("--map-floor", min=0, max=1, help="Stop when mAP@0.5 falls under this."),
    ] = None,
    hold_out: HoldOut = 0.0,
    batch_size: BatchSize = 16,
    accumulate: Accumulate = 1,
    image_size: ImageSize = None,
    learning_rate: LearningRate = 0.005,
    precision: Precision = "float32",
    workers: Workers = 1,
    seed: Seed = 0,
    resume: Resume = False,
    quiet: Quiet = False,
) -> None:
    """Prune in small steps with fine-tuning between them; `--resume` goes on after a stop."""
    if finetune_every > 1 and not reconstruct:
        raise PlanError("--finetune-every needs --reconstruct: nothing else mends a network")
    if reconstruct and method is MethodName.WEIGHTS:
        raise PlanError("--reconstruct goes with --method channels alone")
    spec = read_cfg(cfg)
    state = read_weights(weights, spec)
    config = TrainingConfig(
        epochs=epochs_per_step,
        batch_size=batch_size,
        accumulate=accumulate,
        image_size=training_side(spec, image_size),
        learning_rate=learning_rate,
        warmup=0.2,
        precision=precision,  # type: ignore[arg-type]
        workers=workers,
        seed=seed,
    )
    training, validation = training_data(spec, data, hold_out)
    measured = reconstruct or criterion in MEASURED_CRITERIA
    calibration = None
    if measured:
        paths = [image.path for image in training.images]
        calibration = choose_calibration(spec, data, paths, calibration_images, seed)
    scope = Scope.LAYER if layerwise else Scope.GLOBAL
    pruning: Method
    if method is MethodName.WEIGHTS and sparsity is not None and keep_macs is None:
        settings = MaskSettings(
            sparsity=sparsity, scope=scope, pattern=pattern, exclude=excluded(exclude)
        )
        keep, pruning = 1 - sparsity, Weights(settings=settings)
    elif method is MethodName.CHANNELS and keep_macs is not None and sparsity is None:
        keep = keep_macs
        pruning = Channels(
            dense_macs=cost(spec).macs,
            criterion=criterion,
            scope=scope,
            seed=seed,
            calibration=calibration,
            reconstruct=reconstruct,
            quiet=quiet,
        )
    else:
        raise PlanError("give --keep-macs with --method channels, --sparsity with --method weights")
    asked = {
        "method": method.value,
        "keep_macs": keep_macs,
        # The settings of training have a sparsity of their own.
        "weight_sparsity": sparsity,
        "step": step,
        "schedule": schedule.value,
        "layerwise": layerwise,
        "criterion": criterion,
        "reconstruct": reconstruct,
        "finetune_every": finetune_every,
        "calibration_images": calibration_images if measured else None,
        "pattern": pattern.value,
        "exclude": exclude,
        "cfg": spec.digest(),
        "weights": file_sha256(weights),
        "hold_out": hold_out,
        "training_images": fingerprint(training),
        "validation_images": fingerprint(validation),
    }
    with world() as here:
        steps = _Steps(
            out=out,
            weights=weights,
            training=training,
            validation=validation,
            config=config,
            method=pruning,
            untrained=_untrained(len(step_targets(step, keep)), finetune_every),
            here=here,
            quiet=quiet,
        )
        step_targets(step, keep)
        steps.check(spec, state, keep)
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
        )
        _follow(networks, steps, map_floor, quiet)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Steps:
    """The steps of a run, each in a folder of its own; what is finished is read, not made again.

    Of several processes the first one prunes, evaluates and writes; the others read. `untrained`
    are the numbers of the steps without fine-tuning.
    """

    out: Path
    weights: Path
    training: Dataset
    validation: Dataset
    config: TrainingConfig
    method: Method
    untrained: frozenset[int]
    here: World
    quiet: bool

    def check(self, spec: NetworkSpec, state: State, keep: float) -> None:
        """Raise what a step would raise, before anything is written."""
        self.method.check(spec, state, keep)
        trainable_spec(spec, self.training, self.config, self.here)
        if not self.validation.object_count:
            raise DatasetError(f"none of the {len(self.validation.images)} images has an object")

    def prune(self, spec: NetworkSpec, state: State, share: float, number: int) -> Pair:
        """The network pruned to a share of the dense one."""
        folder = self._folder(number)

        def work() -> None:
            if _holds(folder, self.method.files):
                return
            with write_folder(folder) as temporary:
                self.method.write(temporary, spec, state, share, number)

        self.here.on_first(work)
        return read_network(folder, self.method.name)

    def finetune(self, spec: NetworkSpec, state: State, number: int) -> Pair:
        """The pruned network trained further, or as it is."""
        folder = self._folder(number)
        if number in self.untrained:
            self.here.on_first(lambda: write_network(folder, "last", spec, state, 0))
        elif not self.here.on_first(lambda: _holds(folder, FINISHED)):
            shown_training(
                spec,
                state,
                training=self.training,
                validation=None,
                config=replace(self.config, seed=self.config.seed + number),
                run=folder,
                here=self.here,
                masks=self.method.masks(folder, spec),
                resume=self.here.on_first(lambda: _holds(folder, [CHECKPOINT])),
                quiet=self.quiet,
            )
            self.here.wait()
        return read_network(folder, "last")

    def evaluate(self, spec: NetworkSpec, state: State, number: int) -> float:
        """The network's mAP@0.5 on the validation images."""
        return self.here.on_first(lambda: self._accuracy(spec, state, number))

    def keep(self, network: ScheduledNetwork) -> None:
        """Write the last good network so far."""
        self.here.on_first(lambda: write_network(self.out, "best", network.spec, network.state, 0))

    def _accuracy(self, spec: NetworkSpec, state: State, number: int) -> float:
        folder, size = self._folder(number), self.config.image_size
        measured_on = {
            "protocol": PROTOCOL,
            "image_size": size,
            "images": fingerprint(self.validation),
            "weights": file_sha256(folder / "last.weights" if number else self.weights),
        }
        if _holds(folder, [ACCURACY]):
            known = _read_json(folder / ACCURACY)
            if known.get("measured_on") == measured_on:
                return float(known["map50"])
        network = Network.from_state(with_input_size(spec, size, size), state)
        map50 = evaluate(network, self.validation, PROTOCOL).map50
        document = {"map50": map50, "measured_on": measured_on}
        write_text(folder / ACCURACY, json.dumps(document, indent=1) + "\n")
        return map50

    def _folder(self, number: int) -> Path:
        return self.out / f"step-{number:02}"


def _untrained(steps: int, finetune_every: int) -> frozenset[int]:
    """Numbers of the steps that are not fine-tuned: the last one always is."""
    return frozenset(number for number in range(1, steps) if number % finetune_every)


def _follow(
    networks: Iterable[ScheduledNetwork], steps: _Steps, floor: float | None, quiet: bool
) -> None:
    """Keep the last good network and print how it goes."""
    here, out, unit = steps.here, steps.out, steps.method.unit
    rows: list[tuple[int, str, str]] = []
    last_good: int | None = None
    for network in networks:
        accuracy = f"{network.accuracy:.4f}"
        rows.append((network.step, f"{network.kept:.3f}", accuracy))
        good = floor is None or network.accuracy >= floor
        if good:
            last_good = network.step
            steps.keep(network)
        elif last_good is None:
            raise PlanError(
                f"the dense network's mAP@0.5 {accuracy} is under --map-floor {floor:g}"
            )
        if here.is_first and not quiet:
            output.print(
                f"step {network.step}: {network.kept:.3f} of {unit}, mAP@0.5 {accuracy}"
                f"{'' if good else ', under the floor: stopped'}"
            )
    if here.is_first:
        print_table(
            "Iterative pruning",
            ("Step", f"{unit[0].upper()}{unit[1:]} kept", f"mAP@0.5 ({PROTOCOL})"),
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
    was = _read_json(path)
    changed = [name for name in {**was, **asked} if was.get(name) != asked.get(name)]
    if changed:
        raise PlanError(
            f"{path}: this run was started with another {', '.join(changed)}: choose another --out"
        )


def _holds(folder: Path, names: Iterable[str]) -> bool:
    return all((folder / name).exists() for name in names)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise CheckpointError(f"{path}: damaged ({error})") from error
