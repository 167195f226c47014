"""A network of a sweep of levers, chosen by its number, as a folder of its own."""

import shutil
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from yoloprune.documents import read_document
from yoloprune.errors import UsageError, VerificationError
from yoloprune.files import file_sha256, write_folder, write_json
from yoloprune.graph.model import Model
from yoloprune.report.shown import Result, Shown
from yoloprune.reporter import SILENT, Reporter
from yoloprune.workflows.cut import PRUNED_FILES, Cut, refuse_to_replace
from yoloprune.workflows.lever_points import INT8, Point
from yoloprune.workflows.models import AnyModel, opened
from yoloprune.workflows.pruned_folder import read_cut


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sweep:
    """What is read of a sweep's JSON."""

    points: tuple[Point, ...]


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Int8Point(Result):
    """A point in int8, which is a file and no cut."""

    title: str
    point: Point

    def shown(self) -> Shown:
        """One line."""
        told = f"{self.title}: {point_line(self.point)}"
        return Shown(
            title=f"A point of a sweep of {self.title}",
            summary=told,
            lines=[told],
            document={"point": asdict(self.point)},
        )


def point_line(point: Point) -> str:
    """Its levers, its mAP and its time, as the sweep found them."""
    return (
        f"{point.setting.name}; mAP@0.5 (coco) {point.map50:.4f}, {point.share:.2f} of the dense "
        "network's time"
    )


def read_point(sweep: str | Path, number: int) -> Point:
    """The point of this number in the sweep.json that `pull_levers` wrote.

    Raises `UsageError` for another file, and for a number that it has not.
    """
    return _chosen(_points(sweep), sweep, number)


def _points(sweep: str | Path) -> tuple[Point, ...]:
    return read_document(Path(sweep), _Sweep, fault=UsageError).points


def _chosen(points: tuple[Point, ...], sweep: str | Path, number: int) -> Point:
    if not 0 <= number < len(points):
        known = f"the last is #{len(points) - 1}" if points else "it is empty"
        raise UsageError(f"{sweep}: it has no point #{number}: {known}")
    return points[number]


def take_point(
    network: AnyModel,
    sweep: str | Path,
    number: int,
    out: str | Path,
    *,
    made_by: str | None = None,
    reporter: Reporter = SILENT,
) -> Cut | Int8Point:
    """Write a point of a sweep into a folder, in the form that the dense network came in.

    It is proven anew to be made of that network. In int8 it is an .onnx, whose digest alone is
    compared. Raises `UsageError` for a sweep of another network, `VerificationError` for a network
    that is not what the sweep made.
    """
    network, out, folder = opened(network), Path(out), Path(sweep).parent
    points = _points(sweep)
    point = _chosen(points, sweep, number)
    refuse_to_replace(out, network)
    if out.resolve() in {(folder / own.setting.folder).resolve() for own in points}:
        raise UsageError(f"{out}: holds a network of the sweep: choose another folder")
    if point.of != network.sha256:
        raise UsageError(f"{sweep}: of another network than {network.document.title}")
    record = folder / point.setting.record
    if read_document(record, Point, fault=UsageError) != point:
        raise UsageError(f"{sweep}: its point #{number} is not the one in {record}: sweep again")
    file = folder / point.file
    if not file.exists():
        raise UsageError(f"{sweep}: {point.file} is not beside it: sweep again")
    if file_sha256(file) != point.sha256:
        raise VerificationError(f"{file}: not the file that the sweep made")
    if file.name == INT8:
        return _copied(network, point, file, out)
    cut = read_cut(file.parent, network, reporter=reporter)
    cut = replace(cut, latency=point.time, made_by=made_by or cut.made_by)
    cut.save(out, reporter=reporter)
    return cut


def _copied(network: Model, point: Point, file: Path, out: Path) -> Int8Point:
    found = Int8Point(title=network.document.title, point=point)
    with write_folder(out, obsolete=PRUNED_FILES) as temporary:
        shutil.copyfile(file, temporary / "slim.onnx")
        write_json(temporary / "report.json", found.shown().document)
    return found
