"""What pruning makes: a slim network, the dense one it comes from, the plan, the proof.

And the folder that holds it: the network, as `slim.cfg`, `slim.weights` and, where its classes
have names, `slim.names`, or as `slim.onnx`, or of a torch module
as `slim.safetensors` and `slim.json`; `plan.json`, `report.json` and `report.md`. A Darknet
network is there as `slim.onnx` too where that is asked for.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from yoloprune.engines.side_by_side import SideBySide
from yoloprune.errors import UsageError, VerificationError, YoloPruneError
from yoloprune.exporters.interface import OnnxForm, form_lines
from yoloprune.exporters.onnx import ONNX
from yoloprune.files import file_sha256, refuse_file, write_folder, write_json, write_text
from yoloprune.frontends.onnx.resized import image_size
from yoloprune.frontends.torch.document import ModuleDocument
from yoloprune.frontends.torch.surgery import Size
from yoloprune.graph.graph import Graph
from yoloprune.graph.model import Model
from yoloprune.pruning.groups import analyze
from yoloprune.pruning.measures import MEASURES, UNEVEN, Meter
from yoloprune.pruning.plan import PruningPlan, write_plan
from yoloprune.pruning.prune import Proof
from yoloprune.pruning.queue import Scores
from yoloprune.report.depth import depth_line, depth_report
from yoloprune.report.pruning import (
    HEADER,
    cost_rows,
    latency_lines,
    latency_markdown,
    onnx_markdown,
    prediction_lines,
    proof_lines,
    pruning_markdown,
    pruning_report,
    recovery_lines,
    recovery_markdown,
    rounding_lines,
)
from yoloprune.report.shown import Result, Shown
from yoloprune.report.table import amount, change, file_size
from yoloprune.report.task import task_lines, task_report
from yoloprune.reporter import SILENT, Reporter
from yoloprune.workflows.depth import Shortened
from yoloprune.workflows.models import load
from yoloprune.workflows.modules import (
    carry_out,
    module_of,
    sizes_set,
    surgeries,
    write_slim,
)
from yoloprune.workflows.task import Narrowed

SLIM_FILES = (
    *("slim.cfg", "slim.weights", "slim.names", "slim.onnx", "slim.onnx.data"),
    *("slim.safetensors", "slim.json"),
    *("plan.json", "report.json", "report.md"),
)  # fmt: skip
SPARSE_FILES = (
    *("sparse.cfg", "sparse.weights", "sparse.names", "sparse.onnx", "sparse.onnx.data"),
    *("sparse.packed", "masks.json", "report.json"),
)  # fmt: skip

PAGE = "report.html"

NOT_FASTER = "not faster than dense"

FEW = 8
"""Sizes that are named in a line."""

PRUNED_FILES = (*SLIM_FILES, *SPARSE_FILES, PAGE)
"""What goes from a folder of pruning, of channels or of weights, that is written again."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class Cut(Result):
    """A slim network and where it comes from.

    `exact` is what surgery leaves of the `dense` network by the `plan`, as `proof` says; `slim` is
    the same, unless its weights were recovered since, which `recovery` then tells about. `settings`
    are those that made the plan, `made_by` the command, where one did. Where the network was first
    cut to fewer classes, `narrowed` tells how, where blocks were removed then, `shortened`, and
    `dense` is what that left; `of_size` is the network given where all that is for images of
    another size. `latency` is what both take, where they were timed, and
    `learned_from` the images that it was scored or re-fitted on: a SHA-256 by file. `scores` are
    those that the plan was made from, by group id: a folder does not have them.
    """

    dense: Model
    plan: PruningPlan
    exact: Model
    slim: Model
    proof: Proof
    settings: Mapping[str, Any] = field(default_factory=dict)
    recovery: Mapping[str, Any] | None = None
    made_by: str | None = None
    narrowed: Narrowed | None = None
    learned_from: Mapping[str, str] = field(default_factory=dict)
    shortened: Shortened | None = None
    of_size: Model | None = None
    latency: SideBySide | None = None
    scores: Scores = field(default_factory=dict)

    @property
    def origin(self) -> Model:
        """The network that was given."""
        if self.of_size is not None:
            return self.of_size
        return self._given if self.narrowed is None else self.narrowed.before

    @property
    def before(self) -> Model:
        """What the slim network is compared to: the one given, or what its task left of it."""
        return self.origin if self.narrowed is None else self._given

    @property
    def between(self) -> dict[str, Model]:
        """What the network given became before it was pruned, by what was done."""
        found = {}
        if self.of_size is not None:
            sized = self._given if self.narrowed is None else self.narrowed.before
            height, width = image_size(sized)
            found[f"At {width}x{height}"] = sized
        if self.narrowed is not None:
            found["For its task"] = self._given
        return found

    @property
    def _given(self) -> Model:
        """The network that was to be pruned: the one given, or what its task left of it."""
        return self.dense if self.shortened is None else self.shortened.before

    @property
    def target(self) -> tuple[Graph, Mapping[str, Tensor]]:
        """What the slim network is to compute: the dense one, by the slim one's names."""
        if self.shortened is not None:
            return self.shortened.target
        return self.dense.graph, self.dense.parameters

    @property
    def sizes(self) -> dict[str, tuple[Size, Size]]:
        """Attributes of a module that are set, by path and name: what they were, and become.

        Those of torch's own layers are not among them.
        """
        return sizes_set(self.dense, self.slim)

    @property
    def model(self) -> Model:
        """The slim network: it is what a cut stands for where a network is wanted."""
        return self.slim

    def save(
        self,
        folder: str | Path,
        *,
        onnx: OnnxForm | None = None,
        reporter: Reporter = SILENT,
    ) -> list[str]:
        """Write all of it into a folder, whole or not at all; gives the names of the files.

        With `onnx`, the slim.onnx of a Darknet network too, in that form. Raises `UsageError` if
        the dense network is there, or if it came as an .onnx and `onnx` is given.
        """
        folder = Path(folder)
        refuse_to_replace(folder, self.origin)
        with write_folder(folder, obsolete=PRUNED_FILES) as temporary:
            write_cut(temporary, self, onnx=onnx, reporter=reporter)
            return [name for name in SLIM_FILES if (temporary / name).exists()]

    def apply(
        self,
        module: nn.Module,
        *,
        optimizer: torch.optim.Optimizer | Sequence[torch.optim.Optimizer] | None = None,
    ) -> nn.Module:
        """Make the module that was pruned, or a copy of it as an EMA has one, the slim one.

        In place: its own numbers are sliced, and sizes that it keeps are set; what compensation or
        recovery changed is written. Parameters that lose entries are new ones: give the `optimizer`
        that trains the module, or several, which then hold them, and what they have gathered sliced
        alike, or make them anew. Another goes on with the old ones, and nothing says so. Gives the
        module. Raises `UsageError`, before anything is changed, for another module, where the
        network was none, and where recovery would be written over what training has changed since.
        """
        optimizers = (optimizer,) if isinstance(optimizer, torch.optim.Optimizer) else optimizer
        return carry_out(self.dense, self.slim, module, tuple(optimizers or ()))

    def save_module(
        self, module: nn.Module, path: str | Path, *, before: Sequence["Cut"] = ()
    ) -> None:
        """Write the slim module, trained since, as `path`, a .safetensors, and its plan as .json.

        `load_slim` reads it. Where the module that was pruned was itself loaded slim, `before` are
        the cuts that made it, in order.
        """
        done = [own for cut in before for own in surgeries(cut.dense, cut.slim)]
        write_slim(module, (*done, *module_of(self.slim).surgeries), self.slim, Path(path))

    def shown(self) -> Shown:
        """Cost and proof; as JSON the content of report.json."""
        before, after = self.origin.cost, self.slim.cost
        recovered = [] if self.recovery is None else recovery_lines(self.recovery)
        slower = self.latency is not None and not self.latency.faster
        return Shown(
            title=f"Pruning of {self.dense.document.title}{': ' + NOT_FASTER if slower else ''}",
            summary=(
                f"{NOT_FASTER + '; ' if slower else ''}"
                f"{self.dense.document.title}: {amount(after.params)} params "
                f"({change(before.params, after.params)}), {file_size(after.weight_bytes)}, "
                f"{amount(after.macs)} MACs ({change(before.macs, after.macs)}); slim = masked "
                f"dense within {self.proof.exactness.relative_error:.2g}"
                + ("" if self.recovery is None else ", then recovered")
                + ("" if self.latency is None else f"; {self.latency.share:.2f} of dense's time")
            ),
            header=HEADER,
            rows=cost_rows(self.origin, self.slim, self.between),
            lines=[
                *times(self),
                *rounding_lines(self.plan.budget, _kept(self)),
                *_beside(self),
                *proof_lines(self.proof),
                *recovered,
            ],
            document=_report(self, self.recovery),
        )


def refuse_to_replace(out: Path, network: Model) -> None:
    """Raise `UsageError` if a pruned folder would take away a network's own files, or is a file."""
    refuse_file(out)
    inputs = {path.resolve() for path in network.document.source}
    if inputs & {(out / name).resolve() for name in PRUNED_FILES}:
        raise UsageError(f"{out} would replace the dense network: choose another folder")


def write_cut(
    folder: Path, cut: Cut, *, onnx: OnnxForm | None = None, reporter: Reporter = SILENT
) -> None:
    """Write a cut into a folder that is there for it: `Cut.save` does more."""
    dense, slim = cut.dense, cut.slim
    interface = [] if onnx is None else form_lines(slim, onnx)
    if onnx is not None:
        with reporter.stage("exporting to ONNX"):
            ONNX.write(slim, folder / "slim.onnx", onnx)
    files = slim.save(folder / f"slim{slim.document.suffix}")
    _read_again(files[0], slim)
    write_plan(folder / "plan.json", analyze(dense.graph), cut.plan)
    text = pruning_markdown(
        *(dense, slim, cut.plan, cut.proof, cut.made_by, cut.settings),
        rows=cost_rows(cut.origin, slim, cut.between),
        first=_beside(cut),
    )
    text += latency_markdown(times(cut))
    if onnx is not None:
        text += onnx_markdown(interface)
    recovery = cut.recovery
    if recovery is not None:
        recovery = {
            **recovery,
            "weights_sha256": file_sha256(files[-1]),
            "dense_sha256": dense.sha256,
        }
        text += recovery_markdown(recovery)
    write_text(folder / "report.md", text)
    write_json(folder / "report.json", _report(cut, recovery))


def _read_again(path: Path, slim: Model) -> None:
    """Raise `VerificationError` unless a file holds the network that was proven."""
    if isinstance(slim.document, ModuleDocument):
        return
    try:
        found = load(path).document.digest()
    except YoloPruneError as error:
        raise VerificationError(f"what was written cannot be read: {error}") from error
    if found != slim.document.digest():
        raise VerificationError(f"{path}: what was written is not the network that was proven")


def _beside(cut: Cut) -> list[str]:
    """What was done beside pruning channels, one statement a line."""
    lines: list[str] = []
    if (found := cut.narrowed) is not None:
        silence = [] if found.silence is None else [str(found.silence)]
        lines += [*silence, *task_lines(found.names, found.whole, found.proof)]
    if cut.shortened is not None:
        lines.append(depth_line(cut.shortened.gone, cut.shortened.proof))
    if sizes := [f"{name} {old} to {new}" for name, (old, new) in cut.sizes.items()]:
        more = f" and {len(sizes) - FEW} more" if len(sizes) > FEW else ""
        lines.append(f"sizes set that the module keeps: {', '.join(sizes[:FEW])}{more}")
    return lines


def _kept(cut: Cut) -> dict[str, float]:
    """The share of each measure that the plan leaves, of those that it limits by counting."""
    dependencies = analyze(cut.dense.graph)
    meter = Meter(dependencies)
    before, after = (meter.remaining(dependencies.kept(keep)) for keep in ({}, cut.plan.keep))
    names = cut.plan.budget.limits.keys() - UNEVEN
    return {name: MEASURES[name](after) / MEASURES[name](before) for name in names}


def times(cut: Cut) -> list[str]:
    """What slim and dense take, one statement a line."""
    multiple_of = cut.plan.budget.multiple_of
    return latency_lines(cut.latency, multiple_of) + prediction_lines(cut.settings)


def _report(cut: Cut, recovery: Mapping[str, Any] | None) -> dict[str, Any]:
    """The content of report.json."""
    report = pruning_report(cut.dense, cut.slim, cut.proof, cut.made_by, cut.settings, recovery)
    if cut.learned_from:
        report["learned_from"] = dict(cut.learned_from)
    if cut.latency is not None:
        report["latency"] = asdict(cut.latency)
    if (short := cut.shortened) is not None:
        report["depth"] = depth_report(short.before, short.gone, short.proof)
    if cut.sizes:
        report["sizes"] = {name: list(own) for name, own in cut.sizes.items()}
    if (found := cut.narrowed) is None:
        return report
    task = task_report(found.before, found.task, found.names, found.whole, found.proof)
    silence = None if found.silence is None else asdict(found.silence)
    return report | {"task": task | {"silence": silence}}
