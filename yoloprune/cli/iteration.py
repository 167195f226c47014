"""What `iterate` prunes in each step: channels or weights.

Both prune to a share of the dense network, of its MACs or its weights (`unit`), and leave `files`
in the step's folder, the network under `name`.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, TypeAlias

from yoloprune.cost import cost
from yoloprune.darknet.spec import NetworkSpec
from yoloprune.darknet.state import State
from yoloprune.errors import PlanError
from yoloprune.pruning.budget import Scope, comparable, solve
from yoloprune.pruning.groups import analyse
from yoloprune.pruning.importance import criterion_named, score
from yoloprune.pruning.plan import Budget, write_plan
from yoloprune.pruning.pruner import prune
from yoloprune.sparsity.masks import (
    MaskSettings,
    Pattern,
    WeightMasks,
    apply_masks,
    kept_share,
    magnitude_masks,
    read_masks,
    write_masks,
)
from yoloprune.training.run_folder import write_network


@dataclass(frozen=True, slots=True, kw_only=True)
class Channels:
    """Channels go; the share is of the dense network's MACs."""

    unit: ClassVar[str] = "MACs"
    name: ClassVar[str] = "slim"
    files: ClassVar[tuple[str, ...]] = ("slim.cfg", "slim.weights", "plan.json")

    dense_macs: int
    criterion: str
    scope: Scope
    seed: int

    def check(self, spec: NetworkSpec, state: State, share: float) -> None:
        """Small steps reach as far as a single one, and no further."""
        graph = analyse(spec)
        scores = comparable(score(graph, state, criterion_named(self.criterion)), self.scope)
        solve(graph, scores, Budget(keep_macs=share), criterion=self.criterion)

    def kept(self, spec: NetworkSpec, state: State) -> float:
        """Share of the dense network's MACs."""
        return cost(spec).macs / self.dense_macs

    def write(self, folder: Path, spec: NetworkSpec, state: State, share: float, step: int) -> None:
        """The slim network and its plan."""
        pruned = prune(
            spec,
            state,
            budget=Budget(keep_macs=min(1.0, share / self.kept(spec, state))),
            criterion=self.criterion,
            scope=self.scope,
            seed=self.seed + step,
        )
        write_network(folder, self.name, pruned.spec, pruned.state, 0)
        write_plan(folder / "plan.json", analyse(spec), pruned.plan)

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

    def write(self, folder: Path, spec: NetworkSpec, state: State, share: float, step: int) -> None:
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
