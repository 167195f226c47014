"""Iterative pruning without training: each step is scored and re-fitted anew on unlabeled images.

The stages of step 3 are `step-03`, a folder of `prune`, and in it `evaluated`; the dense network is
`step-00/evaluated`. `best.*` is the last good network. Each step is re-fitted towards the network
of the step before, not towards the dense one: with that FastestDet lost more
(`docs/guide/recover.md`).
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from yoloprune.data.calibration import Calibration, read_calibration
from yoloprune.devices import AUTO, torch_device
from yoloprune.documents import read_document
from yoloprune.errors import RunError, UsageError
from yoloprune.files import write_text
from yoloprune.graph.model import Model
from yoloprune.pruning.choices import Compensation, Scope
from yoloprune.reporter import SILENT, Reporter
from yoloprune.training.distributed import World, world
from yoloprune.workflows.choices import Schedule, chosen
from yoloprune.workflows.defaults import ITERATION, ON_IMAGES, PRUNING
from yoloprune.workflows.iterate import VERSION, Iterated, begin, followed, idle_steps
from yoloprune.workflows.judges import ERROR, Judge, Request, judge_by_error, judge_of
from yoloprune.workflows.models import AnyModel, load, opened
from yoloprune.workflows.rounding import rounded
from yoloprune.workflows.schedule import Limit, ScheduledNetwork, follow, step_targets
from yoloprune.workflows.stages import Stage
from yoloprune.workflows.steps import ChannelSteps, cut_stage, finished, step_folder

MEASURED = "measured.json"


def iterate_on_images(
    network: AnyModel,
    images: str | Path,
    out: str | Path,
    *,
    keep_macs: float,
    step: float = ITERATION.step,
    schedule: Schedule | str = ITERATION.schedule,
    scope: Scope | str = PRUNING.scope,
    criterion: str = ON_IMAGES,
    multiple_of: int | None = None,
    calibration_images: int = PRUNING.calibration_images,
    data: str | Path | None = None,
    split: str | None = None,
    allow_faulty: bool = False,
    map_floor: float | None = None,
    error_ceiling: float | None = None,
    seed: int = PRUNING.seed,
    preprocess: str | None = None,
    decoder: str | None = None,
    resume: bool = False,
    made_by: str | None = None,
    device: str = AUTO,
    reporter: Reporter = SILENT,
) -> Iterated:
    """Prune any network in small steps, without labels and without training, into the folder `out`.

    Each step takes `step` of the dense network's MACs by scores on `calibration_images` of the
    `images`, and re-fits what is left on them. Networks are judged by mAP@0.5 (coco) where `data`
    are given, as `sweep` reads them, and boxes can be made of the outputs, or else by the error at
    the outputs on images that nothing was learned from. The run stops when mAP falls under
    `map_floor`, or the error rises above `error_ceiling`. With `resume` a run that was stopped or
    killed is resumed, and ends with the same networks. Raises `UsageError` for a limit of what is
    not measured, `PlanError` if the target cannot be reached, `RunError` if the run was started
    otherwise or must be resumed.
    """
    schedule, scope = chosen(Schedule, schedule, "schedule"), chosen(Scope, scope, "scope")
    network, out, place = opened(network), Path(out), torch_device(device)
    targets = step_targets(step, keep_macs, schedule)
    calibration = read_calibration(
        network, Path(images), calibration_images, seed, reporter, preprocess
    ).on(place)
    judge = judge_by_error(network, calibration)
    if data is not None:
        request = Request(
            data=Path(data),
            split=split,
            limit=None,
            seed=seed,
            allow_faulty=allow_faulty,
            device=place,
            preprocess=preprocess,
            decoder=decoder,
        )
        judge = judge_of(network, request, reporter)
    limit = _limit(judge, map_floor, error_ceiling)
    budget = rounded(
        network.graph,
        {"macs": keep_macs},
        PRUNING.min_channels,
        multiple_of,
        PRUNING.max_layer_cut,
        Compensation.NONE,
        reporter,
    )
    method = ChannelSteps(
        dense_macs=network.cost.macs,
        criterion=criterion,
        scope=scope,
        multiple_of=budget.multiple_of,
        seed=seed,
        calibration=calibration,
        reconstruct=True,
        suffix=network.document.suffix,
        device=device,
        made_by=made_by,
    )
    method.check(network, keep_macs)
    idle = idle_steps(targets, method.kept(network), method.unit)
    asked = {
        "version": VERSION,
        "keep_macs": keep_macs,
        "step": step,
        "schedule": schedule.value,
        "scope": scope.value,
        "criterion": criterion,
        "multiple_of": budget.multiple_of,
        "calibration_images": calibration_images,
        "seed": seed,
        "network": network.document.digest(),
        "weights": network.sha256,
        "images": _digest(calibration),
    }
    with world(device) as here:
        told = reporter if here.is_first else SILENT
        if idle:
            told.warn(f"the steps up to {idle} have no effect: the network is already smaller")
        steps = _Steps(out=out, method=method, judge=judge, here=here, reporter=told)
        with here.locked(out):
            here.on_first(lambda: begin(out, asked, resume))
            networks = follow(
                network,
                step=step,
                keep=keep_macs,
                schedule=schedule,
                prune=steps.prune,
                kept=method.kept,
                finetune=lambda model, number: model,
                evaluate=steps.evaluate,
                limit=limit,
            )
            return followed(
                networks,
                keep=steps.keep,
                out=out,
                unit=method.unit,
                measure=judge.measure,
                limit=limit,
                reporter=told,
                files=steps.best,
            )


def _limit(judge: Judge, map_floor: float | None, error_ceiling: float | None) -> Limit:
    """Raises `UsageError` for a limit of what is not measured."""
    if map_floor is not None and judge.measure == ERROR:
        raise UsageError("`map_floor` needs `data`, and a network whose outputs a decoder knows")
    if error_ceiling is not None and judge.measure != ERROR:
        raise UsageError("`error_ceiling` is for runs without `data`: give `map_floor`")
    return Limit(floor=map_floor, ceiling=error_ceiling)


def _digest(calibration: Calibration) -> str:
    """Of what the network is shown."""
    digest = hashlib.sha256()
    for images in (calibration.images, calibration.unseen):
        for number in range(len(images)):
            image = images[number : number + 1]
            digest.update(image.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Measured:
    """What a step's network is judged by."""

    figure: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Steps:
    """The steps of a run; what is finished is read, not made again."""

    out: Path
    method: ChannelSteps
    judge: Judge
    here: World
    reporter: Reporter

    @property
    def best(self) -> tuple[str, ...]:
        """Names of the files of the last good network."""
        return tuple(name.replace(self.method.name, "best") for name in self.method.files[:-1])

    def prune(self, network: Model, share: float, number: int) -> Model:
        """The network pruned to a share of the dense one, and re-fitted."""
        before = () if number == 1 else (step_folder(number - 1),)
        stage = cut_stage(self.method, network, share, number, before, self.reporter)
        folder = finished(stage, self.out, self.here)
        return load(folder / f"{self.method.name}{self.method.suffix}")

    def evaluate(self, network: Model, number: int) -> float:
        """What the network is judged by."""

        def work(folder: Path) -> None:
            with self.reporter.stage("measuring"):
                figure = self.judge.judge(network)
            write_text(folder / MEASURED, json.dumps({"figure": figure}) + "\n")

        stage = Stage(
            name=f"{step_folder(number)}/evaluated",
            needs=(step_folder(number),) if number else (),
            settings={
                "measure": self.judge.measure,
                "split": self.judge.split,
                "images": self.judge.images,
                "preprocess": self.judge.reads.document(),
                "decoder": self.judge.decoder,
            },
            outputs=(MEASURED,),
            work=work,
            kind="measuring",
        )
        folder = finished(stage, self.out, self.here)
        return read_document(folder / MEASURED, _Measured, fault=RunError).figure

    def keep(self, network: ScheduledNetwork) -> None:
        """Write the last good network so far."""
        self.here.on_first(lambda: self._keep(network.model))

    def _keep(self, network: Model) -> None:
        network.save(self.out / f"best{self.method.suffix}")
