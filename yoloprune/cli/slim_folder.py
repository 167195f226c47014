"""A folder that `prune` wrote, as the commands that come after it read it."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from yoloprune.darknet.parser import read_cfg
from yoloprune.darknet.spec import NetworkSpec
from yoloprune.darknet.state import State
from yoloprune.darknet.weights import read_weights
from yoloprune.errors import PlanError, VerificationError
from yoloprune.files import file_sha256
from yoloprune.pruning.compensation import compensate
from yoloprune.pruning.groups import analyse
from yoloprune.pruning.plan import PruningPlan, read_plan
from yoloprune.pruning.slimming import slim_spec
from yoloprune.pruning.surgery import surgery


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SlimFolder:
    """A pruned network and where it comes from.

    `state` is what slim.weights holds. `cut` is what surgery leaves of the dense network: the same,
    unless the weights were recovered since, which `recovery` (of report.json) then tells about.
    """

    plan: PruningPlan
    spec: NetworkSpec
    state: State
    cut: State
    report: dict[str, Any]

    @property
    def recovery(self) -> dict[str, Any] | None:
        """What report.json says about a recovery, or None."""
        return self.report.get("recovery")


def read_slim_folder(spec: NetworkSpec, state: State, weights: Path, folder: Path) -> SlimFolder:
    """Read a pruned folder of this dense network, whose state is that of the file `weights`.

    Raises `VerificationError` if slim.cfg is not what the plan makes, or slim.weights are not those
    of the recovery that report.json tells about; `PlanError` if these dense weights are not those
    that the network was recovered towards.
    """
    graph = analyse(spec)
    plan = read_plan(folder / "plan.json", graph)
    slim = read_cfg(folder / "slim.cfg")
    slim_state = read_weights(folder / "slim.weights", slim)
    if slim.digest() != slim_spec(graph, graph.kept(plan.keep)).digest():
        raise VerificationError(f"{folder / 'slim.cfg'}: not the network that the plan makes")
    report = _read_report(folder / "report.json")
    cut = slim_state
    if (recovery := report.get("recovery")) is not None:
        if recovery.get("weights_sha256") != file_sha256(folder / "slim.weights"):
            raise VerificationError(
                f"{folder / 'slim.weights'}: not the weights that report.json says were recovered"
            )
        # What recovery changed cannot be compared: only the file says whose weights they were.
        if recovery.get("dense_sha256") != file_sha256(weights):
            raise PlanError(
                f"{weights}: not the dense weights that {folder} was recovered towards: give "
                "those, or prune again"
            )
        _, cut = surgery(spec, compensate(spec, state, plan), plan)
    return SlimFolder(plan=plan, spec=slim, state=slim_state, cut=cut, report=report)


def recovery_digests(folder: Path, weights: Path) -> dict[str, str]:
    """What a recovery's entry says of the files: the recovered and the dense weights."""
    return {
        "weights_sha256": file_sha256(folder / "slim.weights"),
        "dense_sha256": file_sha256(weights),
    }


def _read_report(path: Path) -> dict[str, Any]:
    """report.json, or nothing if there is none: it is needed after a recovery alone."""
    if not path.exists():
        return {}
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError, RecursionError) as error:
        raise PlanError(f"{path}: this is not a pruning report: {error}") from error
