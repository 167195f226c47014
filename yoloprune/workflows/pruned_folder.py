"""Folders that pruning wrote, read again: each is proven anew to be made of its dense network."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from yoloprune.data.calibration import proof_images
from yoloprune.devices import AUTO, torch_device
from yoloprune.documents import fitted, read_document
from yoloprune.engines.side_by_side import SideBySide
from yoloprune.errors import PlanError, UsageError, VerificationError
from yoloprune.frontends.torch.document import ModuleDocument
from yoloprune.graph.model import Model
from yoloprune.pruning.compensation import compensate
from yoloprune.pruning.cut import cut as surgery
from yoloprune.pruning.groups import analyze
from yoloprune.pruning.plan import read_before, read_plan
from yoloprune.pruning.prune import prove
from yoloprune.pruning.recover.confidence import Line
from yoloprune.pruning.recover.side import LayerFit
from yoloprune.reporter import SILENT, Reporter
from yoloprune.workflows.cut import Cut
from yoloprune.workflows.depth import shorten
from yoloprune.workflows.models import AnyModel, load, opened, sized_as
from yoloprune.workflows.modules import read_slim
from yoloprune.workflows.task import narrowed


@dataclass(frozen=True, slots=True, kw_only=True)
class _Heads:
    images: int
    unseen: bool
    before: tuple[float, ...]
    after: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Confidence:
    lines: dict[str, list[Line]]
    threshold: float = 0.0
    images: int = 0
    dense: int = 0
    before: int = 0
    after: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Distillation:
    steps: int
    batch_size: int
    images: int
    held_out: int
    curve: tuple[tuple[int, float], ...]
    left: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Recovery:
    """What is read of the entry that `recover` makes."""

    method: str
    images: int
    heads: _Heads
    layers: dict[str, LayerFit]
    confidence: _Confidence | None = None
    distillation: _Distillation | None = None
    weights_sha256: str
    dense_sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Report:
    """What is read of report.json: older ones lack much of it."""

    settings: dict[str, Any] = field(default_factory=dict)
    made_by: str | None = None
    recovery: _Recovery | None = None
    latency: SideBySide | None = None
    learned_from: dict[str, str] = field(default_factory=dict)


def read_cut(
    folder: str | Path,
    dense: AnyModel,
    *,
    images: str | Path | None = None,
    device: str | torch.device = AUTO,
    preprocess: str | None = None,
    reporter: Reporter = SILENT,
) -> Cut:
    """Read a folder that pruning wrote, and prove again that it was made of this dense network.

    The proof runs on the `device`, on noise and on some of the `images` (a folder, list or .data
    file), read by `preprocess`. Raises `VerificationError` if the network is not what the plan
    makes, or its numbers are neither what it makes nor those of the recovery that report.json tells
    about; `PlanError` if the dense numbers are not those that the network was recovered towards.
    Where the slim network is for images of another size, so was the dense one made.
    """
    folder = Path(folder)
    if folder.is_file():
        raise UsageError(f"{folder} is a file: name the folder that `prune` wrote")
    if not (folder / "plan.json").exists():
        raise PlanError(f"{folder}: it has no plan.json: name the folder that `prune` wrote")
    dense = opened(dense)
    source, place = None if images is None else Path(images), torch_device(device)
    cut_to = None
    before = read_before(folder / "plan.json")
    path = folder / f"slim{dense.document.suffix}"
    given, network = dense, None
    if not isinstance(dense.document, ModuleDocument):
        network = load(path)
        dense = sized_as(network, given)
    of_size = None if dense is given else given
    if before.task is not None:
        cut_to = narrowed(dense, before.task, proof_images(dense, source, place, preprocess))
        dense = cut_to.network
    short = None
    if before.blocks:
        short = shorten(dense, before.blocks, proof_images(dense, source, place, preprocess))
        dense = short.network
    graph = analyze(dense.graph)
    plan = read_plan(folder / "plan.json", graph)
    edits = surgery(graph, plan)
    if network is None:
        network = read_slim(dense.edited(edits), path)
    if network.document.digest() != dense.document.applied(edits).digest():
        raise VerificationError(
            f"{network.document.source[0]}: not the network that the plan makes"
        )
    report = _read_report(folder / "report.json")
    exact, recovery = network, report.get("recovery")
    if recovery is not None:
        _check_recovery(network, recovery, dense)
        exact = dense.edited(edits, compensate(graph, dense.parameters, plan))
    batch = proof_images(dense, source, place, preprocess)
    with reporter.stage("verifying in float64"):
        proof = prove(
            graph,
            dense.parameters,
            plan,
            (exact.graph, exact.parameters),
            batch,
        )
    settings, latency = report.get("settings", {}), report.get("latency")
    return Cut(
        dense=dense,
        plan=plan,
        exact=exact,
        slim=network,
        proof=proof,
        settings=settings | {"verification_images": len(next(iter(batch.values())))},
        recovery=recovery,
        made_by=report.get("made_by"),
        narrowed=cut_to,
        shortened=short,
        of_size=of_size,
        latency=None if latency is None else fitted(latency, SideBySide),
        learned_from=report.get("learned_from", {}),
    )


def _check_recovery(slim: Model, recovery: Mapping[str, Any], dense: Model) -> None:
    """What recovery changed cannot be compared: only the file says whose weights they were."""
    if recovery["weights_sha256"] != slim.sha256:
        raise VerificationError(
            f"{slim.document.source[-1]}: not the weights that report.json says were recovered"
        )
    if recovery["dense_sha256"] != dense.sha256:
        raise PlanError(
            f"{_where(dense)}: not the dense weights that {slim.document.source[-1].parent} was "
            "recovered towards: give those, or prune again"
        )


def _where(network: Model) -> str | Path:
    document = network.document
    return document.source[-1] if document.source else document.title


def read_learned_from(report: Path) -> dict[str, str]:
    """The images that a folder's report.json says were learned from: a SHA-256 by file.

    Nothing where there is no report; raises `PlanError` for one that is damaged.
    """
    found: dict[str, str] = _read_report(report).get("learned_from", {})
    return found


def _read_report(path: Path) -> dict[str, Any]:
    """report.json, or nothing if there is none: it is needed after a recovery alone."""
    if not path.exists():
        return {}
    report = read_document(path, dict[str, Any], fault=PlanError)
    try:
        # Whoever reads the folder shows these entries.
        fitted(report, _Report)
    except ValueError as error:
        raise PlanError(f"{path}: damaged, or of another version: {error}") from None
    return report
