"""Iterative pruning: cut a small step, fine-tune, until the target; a run that can be resumed.

The stages of step 3 are `step-03`, a folder of `prune` or `sparsify`, and in it `trained` and
`evaluated`; the dense network is `step-00/evaluated`. `best.*` is the last good network.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from yoloprune.data.calibration import choose_calibration
from yoloprune.data.fingerprint import fingerprint
from yoloprune.data.inputs import image_input
from yoloprune.devices import AUTO
from yoloprune.documents import read_document
from yoloprune.errors import PlanError, RunError, UsageError
from yoloprune.files import write_json
from yoloprune.graph.model import Model
from yoloprune.pruning.choices import Compensation, Scope, WeightScope
from yoloprune.pruning.score.on_weights import MEASURED_CRITERIA
from yoloprune.pruning.weights.masks import MaskSettings, Pattern
from yoloprune.report.shown import Result, Shown
from yoloprune.reporter import SILENT, Reporter
from yoloprune.training.config import STEP
from yoloprune.training.distributed import world
from yoloprune.training.run_folder import CHECKPOINT
from yoloprune.workflows.choices import Schedule, chosen
from yoloprune.workflows.defaults import ITERATION, PRUNING
from yoloprune.workflows.judges import ERROR
from yoloprune.workflows.models import AnyModel, opened
from yoloprune.workflows.rounding import rounded
from yoloprune.workflows.schedule import (
    SCHEDULE,
    Limit,
    ScheduledNetwork,
    follow,
    step_targets,
)
from yoloprune.workflows.sparsify import warn_of_pattern
from yoloprune.workflows.steps import ChannelSteps, Method, Steps, WeightSteps
from yoloprune.workflows.train import recipe
from yoloprune.workflows.training_data import TrainingSource, training_data, training_source

VERSION = 2
"""Of a run's folder: since then each stage has a manifest."""


DARKNET_FILES = ("best.cfg", "best.weights")
"""The last good network of a run."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class Iterated(Result):
    """A finished run: its last good network, and by its `measure` the accuracy after each step.

    `kept` are shares of the dense network, of its `unit`; a step that is not `judged` was yet to be
    trained. `step` is the number of the one that `model` is, whose `files` are in the folder.
    """

    model: Model
    step: int
    unit: str
    measure: str
    accuracies: tuple[float, ...]
    kept: tuple[float, ...]
    judged: tuple[bool, ...]
    folder: Path
    files: tuple[str, ...] = DARKNET_FILES
    protocol: str | None = None

    def shown(self) -> Shown:
        """A row a step."""
        steps = list(zip(self.kept, self.accuracies, self.judged, strict=True))
        rows = [
            (number, f"{kept:.3f}", f"{accuracy:.4f}{'' if judged else LATER}")
            for number, (kept, accuracy, judged) in enumerate(steps)
        ]
        figure = "error" if self.measure == ERROR else "map50"
        summary = (
            f"{self.folder}: {' and '.join(self.files)} {'is' if len(self.files) == 1 else 'are'} "
            f"the last good network, of step {self.step}: "
            f"{self.kept[self.step]:.3f} of {self.unit}, {self.measure} "
            f"{self.accuracies[self.step]:.4f}"
        )
        return Shown(
            title="Iterative pruning",
            summary=summary,
            header=("Step", f"{self.unit[0].upper()}{self.unit[1:]} kept", self.measure),
            rows=rows,
            lines=[summary],
            document={
                "out": str(self.folder),
                "protocol": self.protocol,
                "measure": self.measure,
                "last_good_step": self.step,
                "steps": [
                    {"kept": kept, figure: accuracy, "judged": judged}
                    for kept, accuracy, judged in steps
                ],
            },
        )


LATER = " (to be trained later)"


def iterate(
    network: AnyModel,
    data: TrainingSource | str | Path,
    out: str | Path,
    *,
    keep_macs: float | None = None,
    sparsity: float | None = None,
    step: float = ITERATION.step,
    schedule: Schedule | str = ITERATION.schedule,
    scope: Scope | str = PRUNING.scope,
    criterion: str = PRUNING.criterion,
    multiple_of: int | None = None,
    pattern: Pattern | str = Pattern.UNSTRUCTURED,
    exclude: tuple[str, ...] = (),
    reconstruct: bool = False,
    finetune_every: int = ITERATION.finetune_every,
    calibration_images: int = PRUNING.calibration_images,
    map_floor: float | None = None,
    resume: bool = False,
    made_by: str | None = None,
    device: str = AUTO,
    reporter: Reporter = SILENT,
    **settings: Any,
) -> Iterated:
    """Prune in small steps with fine-tuning between them; the run goes into the folder `out`.

    With `keep_macs` channels go, to that share of the MACs, by `criterion` and `multiple_of` as in
    `prune`; with `sparsity` single weights, to that share of zeros, by `pattern` and `exclude` as
    in `sparsify`. Each step takes `step` of the dense network. With `reconstruct` the weights are
    re-fitted after each cut on `calibration_images` training images, and fine-tuned only every
    `finetune_every` steps. The run stops when mAP@0.5 falls under `map_floor`. `settings` are those
    of `TrainingConfig`. With `resume` a run that was stopped or killed is resumed, and ends with
    the same networks. Raises `UsageError` unless one target is given, `PlanError` if it cannot be
    reached, `RunError` if the run was started otherwise or must be resumed, and what `train`
    raises.
    """
    if finetune_every > 1 and not reconstruct:
        raise UsageError(
            "`finetune_every` needs `reconstruct`: without either, accuracy is lost at each step"
        )
    schedule = chosen(Schedule, schedule, "schedule")
    scope, pattern = chosen(Scope, scope, "scope"), chosen(Pattern, pattern, "pattern")
    network, source, out = opened(network), training_source(data), Path(out)
    config = recipe(STEP, network, settings)
    training, validation = training_data(network, source, reporter=reporter)
    measured = reconstruct or criterion in MEASURED_CRITERIA
    method: Method
    if sparsity is not None and keep_macs is None:
        keep = 1 - sparsity
        method = WeightSteps(
            mask_settings=MaskSettings(
                sparsity=sparsity,
                scope=WeightScope(scope.value),
                pattern=pattern,
                exclude=exclude,
            )
        )
    elif keep_macs is not None and sparsity is None:
        keep, calibration = keep_macs, None
        if measured:
            paths = [image.path for image in training.images]
            calibration = choose_calibration(
                network,
                image_input(network),
                source.path,
                paths,
                calibration_images,
                config.seed,
                reporter,
            )
        budget = rounded(
            network.graph,
            {"macs": keep},
            PRUNING.min_channels,
            multiple_of,
            PRUNING.max_layer_cut,
            Compensation.NONE,
            reporter,
        )
        multiple_of = budget.multiple_of
        method = ChannelSteps(
            dense_macs=network.cost.macs,
            criterion=criterion,
            scope=scope,
            multiple_of=multiple_of,
            seed=config.seed,
            calibration=calibration,
            reconstruct=reconstruct,
            device=device,
            made_by=made_by,
        )
    else:
        raise UsageError(
            "give either `keep_macs` or `sparsity`: the target decides what is removed"
        )
    targets, limit = step_targets(step, keep, schedule), Limit(floor=map_floor)
    asked = {
        "version": VERSION,
        "keep_macs": keep_macs,
        # The settings of training have a sparsity of their own.
        "weight_sparsity": sparsity,
        "step": step,
        "schedule": schedule.value,
        "scope": scope.value,
        "criterion": criterion,
        "multiple_of": multiple_of,
        "reconstruct": reconstruct,
        "finetune_every": finetune_every,
        "calibration_images": calibration_images if measured else None,
        "pattern": pattern.value,
        "exclude": list(exclude),
        "cfg": network.document.digest(),
        "weights": network.sha256,
        "hold_out": source.hold_out,
        "training_images": fingerprint(training),
        "validation_images": fingerprint(validation),
    }
    with world(device) as here:
        told = reporter if here.is_first else SILENT
        steps = Steps(
            out=out,
            dense=network,
            training=training,
            validation=validation,
            config=config,
            method=method,
            untrained=_untrained(len(targets), finetune_every),
            here=here,
            reporter=told,
        )
        steps.check(keep)
        idle = idle_steps(targets, method.kept(network), method.unit)
        if isinstance(method, WeightSteps):
            warn_of_pattern(network, method.mask_settings, told)
        if idle:
            told.warn(f"the steps up to {idle} have no effect: the network is already smaller")
        with here.locked(out):
            here.on_first(lambda: begin(out, asked | config.decisive(), resume))
            networks = follow(
                network,
                step=step,
                keep=keep,
                schedule=schedule,
                prune=steps.prune,
                kept=method.kept,
                finetune=steps.finetune,
                evaluate=steps.evaluate,
                limit=limit,
                untrained=steps.untrained,
            )
            return followed(
                networks,
                keep=steps.keep,
                out=out,
                unit=method.unit,
                measure=f"mAP@0.5 ({config.protocol})",
                protocol=config.protocol,
                limit=limit,
                reporter=told,
            )


def _untrained(steps: int, finetune_every: int) -> frozenset[int]:
    """Numbers of the steps that are not fine-tuned: the last one always is."""
    return frozenset(number for number in range(1, steps) if number % finetune_every)


def idle_steps(targets: Sequence[float], reached: float, unit: str) -> int:
    """How many steps remove nothing; raises `PlanError` where none would remove anything."""
    # Less a little: of a share only whole weights go.
    idle = sum(share > reached - 1e-4 for share in targets)
    if idle == len(targets):
        raise PlanError(
            f"only {reached:.3g} of the {unit} are left already, which is no more than the target, "
            f"{targets[-1]:.3g}: choose a smaller one"
        )
    return idle


def begin(out: Path, asked: Mapping[str, Any], resume: bool) -> None:
    """Write down what a run is started with, or refuse to resume another one."""
    path = out / SCHEDULE
    if not path.exists():
        if (out / CHECKPOINT).exists():
            raise RunError(f"{out} holds a training run: choose another folder")
        write_json(path, asked)
        return
    was = read_document(path, dict[str, Any], fault=RunError)
    if was.get("version") != VERSION:
        raise RunError(
            f"{path}: a run of another version of yoloprune cannot be resumed: finish it with "
            "that one, or choose another folder"
        )
    if not resume:
        raise RunError(f"{out} holds a run: give `resume` to continue it, or choose another folder")
    now = json.loads(json.dumps(asked))
    changed = [name for name in {**was, **now} if was.get(name) != now.get(name)]
    if changed:
        raise RunError(
            f"{path}: this run was started with another {', '.join(changed)}: choose another folder"
        )


def followed(
    networks: Iterable[ScheduledNetwork],
    *,
    keep: Callable[[ScheduledNetwork], None],
    out: Path,
    unit: str,
    measure: str,
    limit: Limit,
    reporter: Reporter,
    files: tuple[str, ...] = DARKNET_FILES,
    protocol: str | None = None,
    floor: str = "map_floor",
) -> Iterated:
    """Take the steps, keep the last good network, and say how it goes."""
    taken: list[ScheduledNetwork] = []
    best: ScheduledNetwork | None = None
    for network in networks:
        taken.append(network)
        remark = "" if network.judged else LATER
        if network.judged and limit.allows(network.accuracy):
            best = network
            keep(network)
        elif network.judged:
            if best is None:
                raise PlanError(
                    f"the dense network's {measure} of {network.accuracy:.4f} is under `{floor}` "
                    f"{limit.floor:g}: choose a lower one"
                )
            remark = f", {limit}: stopped"
        reporter.say(
            f"step {network.step}: {network.kept:.3f} of {unit}, {measure} "
            f"{network.accuracy:.4f}{remark}"
        )
    assert best is not None
    return Iterated(
        model=best.model,
        step=best.step,
        unit=unit,
        measure=measure,
        accuracies=tuple(network.accuracy for network in taken),
        kept=tuple(network.kept for network in taken),
        judged=tuple(network.judged for network in taken),
        folder=out,
        files=files,
        protocol=protocol,
    )
