"""A model in another format, checked before it appears."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from yoloprune.execution.stream import only_input
from yoloprune.exporters.format import ExportCheck
from yoloprune.exporters.interface import form_of
from yoloprune.exporters.table import format_of
from yoloprune.graph.shapes import facts
from yoloprune.report.pruning import engine_line
from yoloprune.report.shown import Result, Shown
from yoloprune.reporter import SILENT, Reporter
from yoloprune.workflows.models import AnyModel, opened


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Exported(Result):
    """A file that was written and checked; `images` is the shape of what it reads.

    A number of images that may be any has a name there; `free` are the outputs that have as many.
    """

    path: Path
    images: tuple[int | str, ...]
    check: ExportCheck
    free: frozenset[str] = frozenset()

    def shown(self) -> Shown:
        """What it reads and gives, and how far it is from torch."""
        shapes = {
            name: (self.images[0], *shape[1:]) if name in self.free else shape
            for name, shape in self.check.outputs.items()
        }
        outputs = ", ".join(f"{name} {_size(shape)}" for name, shape in shapes.items())
        agreed = engine_line(self.check.engine, "torch", self.check.relative_error)
        return Shown(
            title=f"Export to {self.path}",
            summary=f"{self.path}: {agreed}",
            lines=[f"{self.path}: images {_size(self.images)} -> {outputs}", agreed],
            document={"file": str(self.path), "images": list(self.images)} | asdict(self.check),
        )


def export(
    model: AnyModel,
    path: str | Path,
    *,
    decode: bool | None = None,
    names: Sequence[str] | None = None,
    batch: int | None = None,
    reporter: Reporter = SILENT,
) -> Exported:
    """Write a model in the format that the suffix of `path` says.

    With `decode` the file gives boxes and scores instead of the heads' raw maps; by default it does
    so where there are heads. `names` of the classes are the model's own unless given; `batch` fixes
    the number of images. None of these goes with a network that came as an .onnx, which is written
    as it is. Raises `UsageError` for those and for another suffix, `CfgError` where there are no
    boxes to decode, `VerificationError` where an engine computes something else from the file,
    `MissingDependencyError` where that engine is not installed.
    """
    model, path = opened(model), Path(path)
    row = format_of(path)
    row.require()
    form = form_of(model, decode=decode, names=names, batch=batch)
    with reporter.stage(f"exporting and checking {path.name}"):
        check = row.write(model, path, form)
    name = only_input(model.graph)
    several, *shape = facts(model.graph).shapes[name]
    given = model.graph.inputs[name].shape[0]
    if batch is not None or not isinstance(given, str):
        return Exported(path=path, images=(batch or several, *shape), check=check)
    own = model.graph.outputs
    # What is decoded behind the network has as many as the network.
    free = frozenset(n for n in check.outputs if n not in own or own[n].shape[:1] == (given,))
    return Exported(path=path, images=(given, *shape), check=check, free=free)


def _size(shape: Sequence[int | str]) -> str:
    return f"[{', '.join(map(str, shape))}]"
