"""A pruned folder, proven again, and its files run by the engines that read them."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from yoloprune.counting import counted
from yoloprune.data.calibration import proof_images
from yoloprune.devices import AUTO
from yoloprune.engines.agreement import check_engine
from yoloprune.engines.table import DEFAULT_ENGINE, engine_named
from yoloprune.errors import UsageError
from yoloprune.exporters.format import ExportCheck
from yoloprune.exporters.table import FORMATS
from yoloprune.pruning.recover.errors import output_errors
from yoloprune.report.depth import depth_line
from yoloprune.report.pruning import engine_line, output_line, proof_lines, recovery_lines
from yoloprune.report.shown import Result, Shown
from yoloprune.report.task import task_lines
from yoloprune.reporter import SILENT, Reporter
from yoloprune.workflows.cut import Cut
from yoloprune.workflows.match import Match, match
from yoloprune.workflows.models import AnyModel, is_alone
from yoloprune.workflows.pruned_folder import read_cut


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadErrors:
    """How far each head is from the dense one, on so many images: as pruned, and recovered."""

    images: int
    before: tuple[float, ...]
    after: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Verified(Result):
    """What was proven of a folder.

    `heads` are there where the weights were recovered and images were given; `exports` are the
    checks of exported files, by file name; `engine_error` is that of an engine that was asked for.
    """

    folder: Path
    cut: Cut
    heads: HeadErrors | None
    exports: Mapping[str, ExportCheck]
    engine: str
    engine_error: float | None

    def shown(self) -> Shown:
        """One statement a line."""
        proof = self.cut.proof
        lines = proof_lines(proof)
        if (found := self.cut.narrowed) is not None:
            lines += task_lines(found.names, found.whole, found.proof)
        if (short := self.cut.shortened) is not None:
            lines.append(depth_line(short.gone, short.proof))
        if self.cut.recovery is not None:
            lines.append("after that surgery the weights were recovered, as report.json says:")
            lines += recovery_lines(self.cut.recovery)
        if (heads := self.heads) is not None:
            lines.append(
                output_line(
                    f"{counted(heads.images, 'image')} given here", heads.before, heads.after
                )
            )
        for name, check in self.exports.items():
            lines.append(engine_line(name, "slim.weights", check.relative_error))
        if self.engine_error is not None:
            title = engine_named(self.engine).title
            lines.append(engine_line(title, "torch", self.engine_error))
        verified = f"{self.folder}: verified"
        return Shown(
            title=f"Verification of {self.folder}",
            summary=f"{verified}; {lines[0]}"
            + ("" if self.cut.recovery is None else ", before its recovery"),
            lines=[*lines, verified],
            document={
                "folder": str(self.folder),
                "proof": asdict(proof),
                "task": None if found is None else asdict(found.proof),
                "depth": None if short is None else asdict(short.proof),
                "recovery": self.cut.recovery,
                "heads": None if heads is None else asdict(heads),
                "exports": {name: asdict(check) for name, check in self.exports.items()},
                "engine": self.engine,
                "engine_error": self.engine_error,
            },
        )


def verify(
    dense: AnyModel,
    slim: AnyModel,
    *,
    images: str | Path | None = None,
    engine: str = DEFAULT_ENGINE,
    device: str = AUTO,
    preprocess: str | None = None,
    reporter: Reporter = SILENT,
) -> Verified | Match:
    """Prove that a slim network is exactly what is left of the dense one.

    Of a folder that `prune` wrote its plan is applied again; of any other slim network, or a folder
    without a plan, the kept channels are found first (`match`). The proof runs in float64 on noise
    and on some of the `images` (a folder, list or .data file), which become an ONNX network's
    inputs by `preprocess`, where the file does not show how. Exported files in the folder are
    checked too, and that another engine than torch, or another device than the CPU, computes the
    slim network alike. Raises `VerificationError` where anything differs, `UsageError` for an
    engine without such a folder, and what `read_cut` and `match` raise.
    """
    if not isinstance(slim, str | Path) or is_alone(Path(slim)):
        if (engine, device) != (DEFAULT_ENGINE, AUTO):
            raise UsageError("`engine` and `device` go with a folder that `prune` wrote alone")
        return match(dense, slim, images=images, preprocess=preprocess, reporter=reporter)
    folder = Path(slim)
    # Another engine computes there; the proof is torch's own.
    place = device if engine == DEFAULT_ENGINE else AUTO
    cut = read_cut(
        folder, dense, images=images, device=place, preprocess=preprocess, reporter=reporter
    )
    exports = {}
    for row in FORMATS.values():
        path = folder / f"slim{row.suffix}"
        if path.exists() and path not in cut.slim.document.source:
            with reporter.stage(f"running {path.name}"):
                exports[path.name] = row.check(cut.slim, path)
    error = None
    if (engine, device) != (DEFAULT_ENGINE, AUTO):
        with reporter.stage(f"running in {engine_named(engine).title}"):
            error = check_engine(cut.slim, engine, device)
    return Verified(
        folder=folder,
        cut=cut,
        heads=None if images is None else _head_errors(cut, Path(images), preprocess),
        exports=exports,
        engine=engine,
        engine_error=error,
    )


def _head_errors(cut: Cut, images: Path, preprocess: str | None) -> HeadErrors | None:
    """What recovery has left of the heads' errors, on the images; None without a recovery."""
    if cut.recovery is None:
        return None
    (inputs,) = proof_images(cut.dense, images, preprocess=preprocess).values()
    batch = inputs[1:].float()
    before, after = output_errors(
        (cut.dense.graph, cut.dense.parameters),
        cut.slim.graph,
        [cut.exact.parameters, cut.slim.parameters],
        batch,
    )
    return HeadErrors(images=len(batch), before=tuple(before), after=tuple(after))
