"""Iterative pruning of a torch module, which is trained and judged by its own programs.

Step 3 is the folder `step-03`: its plan, the module after training as `slim.safetensors` and
`slim.json`, and in `measured.json` what it was judged by. `best.*` is the last good one.
"""

import json
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

from yoloprune.documents import read_document
from yoloprune.errors import RunError, UsageError
from yoloprune.files import write_text
from yoloprune.frontends.torch.saved import load_state, read_saved
from yoloprune.graph.model import Model
from yoloprune.pruning.choices import Scope
from yoloprune.pruning.cut import cut as surgery
from yoloprune.pruning.groups import analyze
from yoloprune.pruning.plan import read_plan, write_plan
from yoloprune.pruning.score.gradients import Loss
from yoloprune.reporter import SILENT, Reporter
from yoloprune.training.distributed import World, world
from yoloprune.workflows.choices import Schedule, chosen
from yoloprune.workflows.defaults import ITERATION, ON_IMAGES, PRUNING
from yoloprune.workflows.iterate import VERSION, Iterated, begin, followed, idle_steps
from yoloprune.workflows.modules import (
    SLIM,
    load_module,
    module_of,
    state_shapes,
    with_module,
)
from yoloprune.workflows.prune import prune
from yoloprune.workflows.schedule import Limit, ScheduledNetwork, follow, step_targets
from yoloprune.workflows.stages import Stage
from yoloprune.workflows.steps import finished, step_folder

MEASURED, PLAN = "measured.json", "plan.json"
FILES = ("best.safetensors", "best.json")


def iterate_module(
    module: nn.Module,
    example_inputs: object,
    out: str | Path,
    *,
    finetune: Callable[..., object],
    evaluate: Callable[..., float],
    keep_macs: float,
    step: float = ITERATION.step,
    schedule: Schedule | str = ITERATION.schedule,
    criterion: str | None = None,
    scope: Scope | str = PRUNING.scope,
    multiple_of: int = 1,
    calibration: Tensor | None = None,
    loss: Loss | None = None,
    reconstruct: bool = False,
    floor: float | None = None,
    outputs: Callable[..., object] | None = None,
    seed: int = PRUNING.seed,
    resume: bool = False,
    reporter: Reporter = SILENT,
) -> Iterated:
    """Prune a torch module in small steps and train it after each, into the folder `out`.

    Each step takes `step` of the dense module's MACs. `finetune(module, number)` trains the slim
    module of a step in place, by the module's own trainer, and is given it in training mode;
    `evaluate(module)`, given it in evaluation mode, gives what it is judged by, more being better:
    the run stops when that falls under `floor`. The module itself stays as it is. `calibration` are
    network inputs (B, ...) to score channels by, by what they cost after a re-fit unless another
    `criterion` is named (without them `l2`), and, with `reconstruct`, to re-fit by before training;
    `loss` is as of `prune`, `example_inputs` and `outputs` as of `load_module`.
    With `resume` a run that was stopped goes on behind its last finished step. Raises `PlanError`
    if the target cannot be reached, `RunError` if the run was started otherwise or must be resumed,
    `UsageError` for `reconstruct` without a calibration.
    """
    schedule, scope = chosen(Schedule, schedule, "schedule"), chosen(Scope, scope, "scope")
    out = Path(out)
    if reconstruct and calibration is None:
        raise UsageError("`reconstruct` needs network inputs to re-fit by, as the `calibration`")
    if criterion is None:
        criterion = PRUNING.criterion if calibration is None else ON_IMAGES
    dense = load_module(module, example_inputs, outputs=outputs, reporter=reporter)
    idle_steps(step_targets(step, keep_macs, schedule), 1.0, "MACs")
    asked = {
        "version": VERSION,
        "keep_macs": keep_macs,
        "step": step,
        "schedule": schedule.value,
        "criterion": criterion,
        "scope": scope.value,
        "multiple_of": multiple_of,
        "reconstruct": reconstruct,
        "seed": seed,
        "network": dense.document.digest(),
        "weights": dense.sha256,
    }
    limit = Limit(floor=floor)

    def smaller(network: Model, share: float) -> tuple[Model, Callable[[Path], None]]:
        """A network pruned to a share of the dense one, and how its plan is written."""
        cut = prune(
            network,
            {"macs": min(1.0, share * dense.cost.macs / network.cost.macs)},
            criterion=criterion,
            scope=scope,
            multiple_of=multiple_of,
            calibration=calibration,
            loss=loss,
            refit=reconstruct,
            seed=seed,
            reporter=reporter,
        )
        return cut.slim, lambda path: write_plan(path, analyze(network.graph), cut.plan)

    with world("cpu") as here, here.locked(out):
        begin(out, asked, resume)
        steps = _Steps(out=out, smaller=smaller, finetune=finetune, evaluate=evaluate, here=here)
        return followed(
            follow(
                dense,
                step=step,
                keep=keep_macs,
                schedule=schedule,
                prune=steps.prune,
                kept=lambda network: network.cost.macs / dense.cost.macs,
                finetune=lambda network, number: network,
                evaluate=steps.judge,
                limit=limit,
            ),
            keep=steps.keep,
            out=out,
            unit="MACs",
            measure="accuracy",
            limit=limit,
            reporter=reporter,
            files=FILES,
            floor="floor",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Measured:
    """What a step's module is judged by."""

    accuracy: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Steps:
    """The steps of a run; what is finished is read, not made again."""

    out: Path
    smaller: Callable[[Model, float], tuple[Model, Callable[[Path], None]]]
    finetune: Callable[..., object]
    evaluate: Callable[..., float]
    here: World

    def prune(self, network: Model, share: float, number: int) -> Model:
        """The network pruned to a share of the dense one, and trained."""

        def work(folder: Path) -> None:
            slim, written = self.smaller(network, share)
            written(folder / PLAN)
            document = module_of(slim)
            module = document.holding(slim.parameters).train()
            before = state_shapes(module)
            self.finetune(module, number)
            # The next step begins with what is written: that must fit.
            odd = dict(state_shapes(module).items() ^ before.items())
            if odd:
                raise UsageError(f"`finetune` changed what the module is, by its {min(odd)}")
            with_module(slim, module.cpu().eval()).save(folder / SLIM)
            self.measure(module, folder)

        plan = Path(SLIM).with_suffix(".json").name
        folder = self.stage(number, share, (SLIM, plan, PLAN, MEASURED), work)
        graph = analyze(network.graph)
        slim = network.edited(surgery(graph, read_plan(folder / PLAN, graph)))
        module = deepcopy(module_of(slim).module)
        load_state(module, read_saved(folder / SLIM)[1], folder / SLIM)
        return with_module(slim, module)

    def judge(self, network: Model, number: int) -> float:
        """What the network is judged by."""
        if number == 0:
            module = deepcopy(module_of(network).module)
            self.stage(0, 1.0, (MEASURED,), lambda folder: self.measure(module, folder))
        path = self.out / step_folder(number) / MEASURED
        return read_document(path, _Measured, fault=RunError).accuracy

    def measure(self, module: nn.Module, folder: Path) -> None:
        """Write down what a module is judged by."""
        found = self.evaluate(module)
        try:
            accuracy = float(found)
        except (TypeError, ValueError, RuntimeError) as error:
            raise UsageError(
                f"`evaluate` gave a {type(found).__name__}, where one number is needed"
            ) from error
        write_text(folder / MEASURED, json.dumps({"accuracy": accuracy}) + "\n")

    def stage(
        self, number: int, share: float, files: tuple[str, ...], work: Callable[[Path], None]
    ) -> Path:
        """The folder of a step, once it is finished."""
        stage = Stage(
            name=step_folder(number),
            needs=(step_folder(number - 1),) if number else (),
            settings={"share": share},
            outputs=files,
            work=work,
        )
        return finished(stage, self.out, self.here)

    def keep(self, network: ScheduledNetwork) -> None:
        """Write the last good network so far."""
        network.model.save(self.out / FILES[0])
