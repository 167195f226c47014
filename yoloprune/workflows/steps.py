"""The steps of iterative pruning: what goes with each, channels or single weights, its stages.

A method cuts a network to a share of the dense one, of its MACs or its weights (`unit`), and leaves
`files` in the step's folder, the network under `name`.
"""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, TypeAlias

import torch

from yoloprune.data.calibration import Calibration
from yoloprune.data.dataset import Dataset
from yoloprune.data.fingerprint import fingerprint
from yoloprune.data.names import write_names
from yoloprune.devices import AUTO
from yoloprune.documents import read_document
from yoloprune.errors import RunError, UsageError
from yoloprune.evaluation.evaluator import evaluate
from yoloprune.files import write_folder, write_text
from yoloprune.frontends.darknet.document import for_input_size
from yoloprune.graph.model import Model
from yoloprune.pruning.budget import Budget
from yoloprune.pruning.choices import Scope
from yoloprune.pruning.groups import analyze
from yoloprune.pruning.prune import check_budget
from yoloprune.pruning.weights.mask_file import read_masks
from yoloprune.pruning.weights.masks import (
    MaskSettings,
    Pattern,
    WeightMasks,
    kept_share,
    magnitude_masks,
)
from yoloprune.reporter import Reporter
from yoloprune.training.config import TrainingConfig
from yoloprune.training.distributed import World
from yoloprune.training.engine import train, trainable
from yoloprune.training.run_folder import CHECKPOINT, write_network
from yoloprune.workflows.cut import write_cut
from yoloprune.workflows.detectors import detector
from yoloprune.workflows.models import load
from yoloprune.workflows.prune import prune
from yoloprune.workflows.recover import recover
from yoloprune.workflows.schedule import ScheduledNetwork
from yoloprune.workflows.sparsify import RUN_FILES, keep_masks, masked, write_sparse
from yoloprune.workflows.stages import Stage, is_finished, run_stage

ACCURACY = "accuracy.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelSteps:
    """Channels go; the share is of the dense network's MACs.

    With `reconstruct` what is left is re-fitted on the `calibration` images, which criteria that
    look at images need too. `suffix` is that of the network's file.
    """

    unit: ClassVar[str] = "MACs"
    name: ClassVar[str] = "slim"

    dense_macs: int
    criterion: str
    scope: Scope
    multiple_of: int
    seed: int
    calibration: Calibration | None
    reconstruct: bool
    suffix: str = ".cfg"
    device: str | torch.device = AUTO
    made_by: str | None = None

    @property
    def files(self) -> tuple[str, ...]:
        """What a step leaves in its folder."""
        own = (".cfg", ".weights") if self.suffix == ".cfg" else (self.suffix,)
        return (*(f"{self.name}{suffix}" for suffix in own), "plan.json")

    def check(self, network: Model, share: float) -> None:
        """Small steps reach as far as a single one, and no further."""
        budget = Budget(limits={"macs": share}, multiple_of=self.multiple_of)
        check_budget(analyze(network.graph), network.parameters, budget, self.criterion)

    def kept(self, network: Model) -> float:
        """Share of the dense network's MACs."""
        return network.cost.macs / self.dense_macs

    def settings(self, number: int) -> dict[str, Any]:
        """What else than the share decides a step's outcome."""
        return {
            "criterion": self.criterion,
            "scope": self.scope.value,
            "multiple_of": self.multiple_of,
            "seed": self.seed + number,
            "reconstruct": self.reconstruct,
        }

    def write(
        self, folder: Path, network: Model, share: float, number: int, reporter: Reporter
    ) -> None:
        """What `prune` would write, so that `verify` can prove the step again."""
        seed = self.seed + number
        cut = prune(
            network,
            {"macs": min(1.0, share / self.kept(network))},
            criterion=self.criterion,
            scope=self.scope,
            multiple_of=self.multiple_of,
            calibration=self.calibration,
            # Steps are small: their shape matters little.
            refit=False,
            seed=seed,
            device=self.device,
            reporter=reporter,
        )
        if self.reconstruct and self.calibration is not None:
            cut = recover(
                cut,
                self.calibration,
                seed=seed,
                made_by=self.made_by,
                device=self.device,
                reporter=reporter,
            )
        document = network.document
        origin = document.source[-1].as_posix() if document.source else document.title
        settings = {
            "step": number,
            "cut from": origin,
            "criterion": self.criterion,
            "scope": self.scope.value,
            "seed": seed,
        }
        write_cut(folder, replace(cut, settings=settings, made_by=self.made_by), reporter=reporter)

    def masks(self, folder: Path, network: Model) -> WeightMasks | None:
        """Nothing: what was removed is gone."""
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightSteps:
    """Single weights go to zero; the share is of the weights that may."""

    unit: ClassVar[str] = "weights"
    name: ClassVar[str] = "sparse"
    files: ClassVar[tuple[str, ...]] = ("sparse.cfg", "sparse.weights", "masks.json")

    mask_settings: MaskSettings

    def check(self, network: Model, share: float) -> None:
        """Whether a layer would be emptied, were all done in one step."""
        if self.mask_settings.pattern is Pattern.TWO_OF_FOUR:
            raise UsageError("pattern 2:4 has no steps: use `sparsify`, then `finetune`")
        self._made(network, share)

    def kept(self, network: Model) -> float:
        """Share of weights that are not zero."""
        return kept_share(network.graph, network.parameters, self.mask_settings)

    def settings(self, number: int) -> dict[str, Any]:
        """What else than the share decides a step's outcome."""
        settings = self.mask_settings
        return {
            "scope": settings.scope.value,
            "pattern": settings.pattern.value,
            "exclude": list(settings.exclude),
        }

    def write(
        self, folder: Path, network: Model, share: float, number: int, reporter: Reporter
    ) -> None:
        """The network with its zeros, and the masks."""
        with reporter.stage("masking"):
            masks = self._made(network, share)
            write_sparse(folder, masked(network, masks), masks)

    def masks(self, folder: Path, network: Model) -> WeightMasks | None:
        """Those that `write` wrote."""
        return read_masks(folder / "masks.json", network.graph)

    def _made(self, network: Model, share: float) -> WeightMasks:
        settings = replace(self.mask_settings, sparsity=1 - share)
        return magnitude_masks(network.graph, network.parameters, settings)


Method: TypeAlias = ChannelSteps | WeightSteps


@dataclass(frozen=True, slots=True, kw_only=True)
class _Accuracy:
    """A step's mAP@0.5."""

    map50: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Steps:
    """The steps of a run; what is finished is read, not made again.

    Of several processes the first one prunes, evaluates and writes; the others read. `untrained`
    are the numbers of the steps without fine-tuning.
    """

    out: Path
    dense: Model
    training: Dataset
    validation: Dataset
    config: TrainingConfig
    method: Method
    untrained: frozenset[int]
    here: World
    reporter: Reporter

    def check(self, keep: float) -> None:
        """Raise what a step would raise, before anything is written."""
        self.method.check(self.dense, keep)
        trainable(self.dense, self.training, self.validation, self.config, self.here)

    def prune(self, network: Model, share: float, number: int) -> Model:
        """The network pruned to a share of the dense one."""
        before = () if number == 1 else (f"{step_folder(number - 1)}/trained",)
        stage = cut_stage(self.method, network, share, number, before, self.reporter)
        return load(finished(stage, self.out, self.here) / f"{self.method.name}.cfg")

    def finetune(self, network: Model, number: int) -> Model:
        """The pruned network trained further, or as it is."""

        def leave(folder: Path) -> None:
            write_names(folder / "last.names", self.training.names)
            write_network(folder, "last", network)

        def work(folder: Path) -> None:
            train(
                network,
                training=self.training,
                validation=None,
                config=config,
                run=folder,
                world=self.here,
                masks=self.method.masks(self.out / step_folder(number), network),
                resume=self.here.on_first(lambda: (folder / CHECKPOINT).exists()),
                reporter=self.reporter,
            )

        config = replace(self.config, seed=self.config.seed + number)
        trained = number not in self.untrained
        stage = Stage(
            name=f"{step_folder(number)}/trained",
            needs=(step_folder(number),),
            settings=config.decisive() if trained else {"trained": False},
            outputs=("last.cfg", "last.weights"),
            work=work if trained else leave,
            kind="training" if trained else "making",
        )
        return load(finished(stage, self.out, self.here) / "last.cfg")

    def evaluate(self, network: Model, number: int) -> float:
        """The network's mAP@0.5 on the validation images."""

        def work(folder: Path) -> None:
            sized = for_input_size(network, *self.config.input_size)
            map50 = evaluate(
                detector(sized, device=self.here.device),
                self.validation,
                self.config.protocol,
                reporter=self.reporter,
            ).map50
            write_text(folder / ACCURACY, json.dumps({"map50": map50}) + "\n")

        stage = Stage(
            name=f"{step_folder(number)}/evaluated",
            needs=(f"{step_folder(number)}/trained",) if number else (),
            settings={
                "protocol": self.config.protocol,
                "image_size": self.config.image_size,
                "images": fingerprint(self.validation),
            },
            outputs=(ACCURACY,),
            work=work,
            kind="measuring",
        )
        return read_document(
            finished(stage, self.out, self.here) / ACCURACY, _Accuracy, fault=RunError
        ).map50

    def keep(self, network: ScheduledNetwork) -> None:
        """Write the last good network so far."""
        self.here.on_first(lambda: self._keep(network))

    def _keep(self, network: ScheduledNetwork) -> None:
        # Those of the network before, which may have been a better one in a run that is repeated.
        for name in RUN_FILES:
            (self.out / name).unlink(missing_ok=True)
        write_network(self.out, "best", network.model)
        write_names(self.out / "best.names", self.training.names)
        if network.step:
            masks = self.method.masks(self.out / step_folder(network.step), network.model)
            if masks is not None:
                keep_masks(self.out, masks)


def step_folder(number: int) -> str:
    """The name of a step's folder."""
    return f"step-{number:02}"


def cut_stage(
    method: Method,
    network: Model,
    share: float,
    number: int,
    before: tuple[str, ...],
    reporter: Reporter,
) -> Stage:
    """The stage that cuts a network, which the stages `before` it made, to a share of the dense."""

    def work(folder: Path) -> None:
        with write_folder(folder) as temporary:
            method.write(temporary, network, share, number, reporter)

    return Stage(
        name=step_folder(number),
        needs=before,
        settings={"share": share, **method.settings(number)},
        outputs=method.files,
        work=work,
    )


def finished(stage: Stage, out: Path, here: World) -> Path:
    """The folder of a stage of the run in `out`, once it is finished."""
    if not here.on_first(lambda: is_finished(stage, out)):
        run_stage(stage, out, here)
    return out / stage.name
