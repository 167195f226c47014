"""What `iterate` prunes in each step: channels or weights.

Both prune a network, read from a file `weights`, to a share of the dense one, of its MACs or its
weights (`unit`), and leave `files` in the step's folder, the network under `name`.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, TypeAlias

from yoloprune.cli.calibration import Calibration, run_recovery
from yoloprune.cli.measured import measured_scores
from yoloprune.cli.slim_folder import write_report, write_slim
from yoloprune.darknet.cost import cost
from yoloprune.darknet.spec import NetworkSpec
from yoloprune.darknet.state import State
from yoloprune.errors import PlanError
from yoloprune.pruning.budget import Scope
from yoloprune.pruning.plan import Budget
from yoloprune.pruning.pruner import check_budget, prune
from yoloprune.pruning.reconstruction import Recovery
from yoloprune.reporter import Reporter
from yoloprune.sparsity.mask_file import read_masks, write_masks
from yoloprune.sparsity.masks import (
    MaskSettings,
    Pattern,
    WeightMasks,
    apply_masks,
    kept_share,
    magnitude_masks,
)
from yoloprune.training.run_folder import write_network


@dataclass(frozen=True, slots=True, kw_only=True)
class Channels:
    """Channels go; the share is of the dense network's MACs.

    With `reconstruct` what is left is re-fitted on the `calibration` images, which measured
    criteria need too.
    """

    unit: ClassVar[str] = "MACs"
    name: ClassVar[str] = "slim"
    files: ClassVar[tuple[str, ...]] = ("slim.cfg", "slim.weights", "plan.json")

    dense_macs: int
    criterion: str
    scope: Scope
    round_to: int
    seed: int
    calibration: Calibration | None
    reconstruct: bool
    reporter: Reporter

    def check(self, spec: NetworkSpec, state: State, share: float) -> None:
        """Small steps reach as far as a single one, and no further."""
        budget = Budget(keep_macs=share, multiple_of=self.round_to)
        check_budget(spec, state, budget, self.criterion)

    def kept(self, spec: NetworkSpec, state: State) -> float:
        """Share of the dense network's MACs."""
        return cost(spec).macs / self.dense_macs

    def write(
        self, folder: Path, spec: NetworkSpec, state: State, weights: Path, share: float, step: int
    ) -> None:
        """What `prune` would write, so that `verify` can prove the step again."""
        seed = self.seed + step
        share = min(1.0, share / self.kept(spec, state))
        pruned = prune(
            spec,
            state,
            budget=Budget(keep_macs=share, multiple_of=self.round_to),
            criterion=self.criterion,
            scope=self.scope,
            seed=seed,
            measured=measured_scores(
                self.criterion, spec, state, self.calibration, seed=seed, reporter=self.reporter
            ),
        )
        slim, recovery = pruned.state, None
        if self.reconstruct and self.calibration is not None:
            slim, recovery = run_recovery(
                spec,
                state,
                pruned.plan,
                pruned.spec,
                pruned.state,
                self.calibration,
                recovery=Recovery.RECONSTRUCT,
                seed=seed,
                reporter=self.reporter,
            )
        write_slim(folder, pruned.spec, slim, onnx=None, reporter=self.reporter)
        settings: dict[str, str | int] = {
            "step": step,
            "cut from": weights.as_posix(),
            "criterion": self.criterion,
            "scope": self.scope.value,
            "seed": seed,
        }
        write_report(folder, spec, weights, pruned, settings, recovery, onnx=None)

    def masks(self, folder: Path, spec: NetworkSpec) -> WeightMasks | None:
        """Nothing: what was removed is gone."""
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """Single weights go to zero; the share is of the weights that may."""

    unit: ClassVar[str] = "weights"
    name: ClassVar[str] = "sparse"
    files: ClassVar[tuple[str, ...]] = ("sparse.cfg", "sparse.weights", "masks.json")

    settings: MaskSettings

    def check(self, spec: NetworkSpec, state: State, share: float) -> None:
        """Whether a layer would be emptied, were all done in one step."""
        if self.settings.pattern is Pattern.TWO_OF_FOUR:
            raise PlanError("pattern 2:4 has no steps: use `sparsify`, then `finetune`")
        self._made(spec, state, share)

    def kept(self, spec: NetworkSpec, state: State) -> float:
        """Share of weights that are not zero."""
        return kept_share(spec, state, self.settings)

    def write(
        self, folder: Path, spec: NetworkSpec, state: State, weights: Path, share: float, step: int
    ) -> None:
        """The network with its zeros, and the masks."""
        masks = self._made(spec, state, share)
        write_network(folder, self.name, spec, apply_masks(spec, state, masks), 0)
        write_masks(folder / "masks.json", masks)

    def masks(self, folder: Path, spec: NetworkSpec) -> WeightMasks | None:
        """Those that `write` wrote."""
        return read_masks(folder / "masks.json", spec)

    def _made(self, spec: NetworkSpec, state: State, share: float) -> WeightMasks:
        return magnitude_masks(spec, state, replace(self.settings, sparsity=1 - share))


Method: TypeAlias = Channels | Weights
