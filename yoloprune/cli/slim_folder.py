"""A folder that `prune` writes and that the commands after it read."""

import json
import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from yoloprune.darknet.parser import read_cfg, write_cfg
from yoloprune.darknet.spec import NetworkSpec
from yoloprune.darknet.state import State
from yoloprune.darknet.weights import read_weights, write_weights
from yoloprune.documents import fitted, read_document
from yoloprune.errors import PlanError, VerificationError
from yoloprune.escapes import printable
from yoloprune.export.interface import OnnxForm, interface, interface_lines
from yoloprune.export.onnx import export_onnx
from yoloprune.files import file_sha256, write_text
from yoloprune.pruning.compensation import compensate
from yoloprune.pruning.groups import analyse
from yoloprune.pruning.plan import PruningPlan, read_plan, write_plan
from yoloprune.pruning.pruner import Pruned
from yoloprune.pruning.reconstruction import LayerFit
from yoloprune.pruning.slimming import slim_spec
from yoloprune.pruning.surgery import surgery
from yoloprune.report.pruning import (
    onnx_markdown,
    pruning_markdown,
    pruning_report,
    recovery_markdown,
)
from yoloprune.reporter import SILENT, Reporter


@dataclass(frozen=True, slots=True, kw_only=True)
class _Heads:
    images: int
    unseen: bool
    before: tuple[float, ...]
    after: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Recovery:
    """What is read of the entry that `run_recovery` makes."""

    method: str
    images: int
    heads: _Heads
    layers: dict[int, LayerFit]
    weights_sha256: str
    dense_sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Report:
    recovery: _Recovery | None = None


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


def write_slim(
    folder: Path,
    spec: NetworkSpec,
    state: State,
    *,
    onnx: OnnxForm | None,
    reporter: Reporter = SILENT,
) -> None:
    """slim.cfg, slim.weights and, in the form that is asked for, slim.onnx."""
    if onnx is not None:
        with reporter.stage("exporting to ONNX"):
            export_onnx(
                spec,
                state,
                folder / "slim.onnx",
                decoded=onnx.decoded,
                names=onnx.names,
                batch=onnx.batch,
            )
    write_weights(folder / "slim.weights", spec, state)
    write_cfg(folder / "slim.cfg", spec)


def command_line() -> str:
    """What the user typed, for a report."""
    return printable(shlex.join(["yoloprune", *sys.argv[1:]]))


def write_report(
    folder: Path,
    dense: NetworkSpec,
    weights: Path,
    pruned: Pruned,
    settings: Mapping[str, str | int],
    recovery: dict[str, Any] | None,
    *,
    onnx: OnnxForm | None,
) -> None:
    """plan.json, report.md and report.json; `weights` is the file of the dense network."""
    write_plan(folder / "plan.json", analyse(dense), pruned.plan)
    text = pruning_markdown(dense, pruned, command_line(), settings)
    if onnx is not None:
        text += onnx_markdown(interface_lines(interface(pruned.spec, onnx)))
    if recovery is not None:
        recovery = recovery | recovery_digests(folder, weights)
        text += recovery_markdown(recovery, command_line())
    write_text(folder / "report.md", text)
    document = pruning_report(dense, pruned, settings, recovery)
    write_text(folder / "report.json", json.dumps(document, indent=1) + "\n")


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
    report = read_document(path, dict[str, Any], fault=PlanError)
    try:
        # Whoever reads the folder shows this entry.
        fitted(report, _Report)
    except ValueError as error:
        raise PlanError(f"{path}: damaged, or of another version: {error}") from None
    return report
