"""Input size, width and int8 together: which of them, or which together, buy accuracy cheapest."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path

from yoloprune.counting import counted
from yoloprune.data.calibration import choose_calibration
from yoloprune.data.dataset import Dataset
from yoloprune.data.read import dataset_images, read_dataset
from yoloprune.documents import read_document
from yoloprune.engines.onnxruntime import ONNXRUNTIME
from yoloprune.engines.side_by_side import side_by_side
from yoloprune.errors import CfgError, UsageError, VerificationError
from yoloprune.evaluation.evaluator import evaluate
from yoloprune.exporters.interface import form_of
from yoloprune.exporters.onnx import ONNX
from yoloprune.files import write_json
from yoloprune.frontends.darknet.document import DarknetDocument, darknet, for_input_size
from yoloprune.graph.model import Model
from yoloprune.locks import locked
from yoloprune.report.shown import Result, Shown
from yoloprune.reporter import SILENT, Reporter
from yoloprune.workflows.defaults import ON_IMAGES, PRUNING, QUANTIZATION
from yoloprune.workflows.detectors import detector
from yoloprune.workflows.models import AnyModel, load, opened
from yoloprune.workflows.overlap import without
from yoloprune.workflows.prune import prune
from yoloprune.workflows.quantize import quantize
from yoloprune.workflows.recover import recover

LEVERS = ("width", "input", "int8")

SHARES, SIZES = (0.8, 0.6), (0.8, 0.6)
"""Shares of the MACs, and of the sides of images, that are tried unless told otherwise."""

STRIDE = 32
"""What sides of images are multiples of."""

INT8_LOSS = 0.02
"""How much mAP int8 may lose of a point: whether it pays, the front shows."""

NEAR = 0.02
"""How much less mAP than the dense network's a recommended one may have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A network that was tried: its levers, mAP@0.5 (coco), and its share of the dense one's time.

    `of` is the digest of the dense network's numbers; `file` its name beside its JSON.
    """

    width: int
    height: int
    keep_macs: float
    int8: bool
    map50: float
    ms: float
    share: float
    file: str
    of: str

    @property
    def name(self) -> str:
        """Its levers in a few words."""
        words = [f"{self.width}x{self.height}"]
        words += [f"{self.keep_macs:g} of the MACs"] if self.keep_macs < 1 else []
        return ", ".join([*words, *(["int8"] if self.int8 else [])])


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Levers(Result):
    """Points, the dense network first, and the numbers of those that none beats in both."""

    title: str
    points: tuple[Point, ...]
    images: int
    threads: int

    @property
    def front(self) -> tuple[int, ...]:
        """Numbers of the points than which none is both faster and better, the slowest first."""
        numbers = range(len(self.points))
        best = [n for n in numbers if not any(self._beats(other, n) for other in numbers)]
        return tuple(sorted(best, key=lambda n: -self.points[n].share))

    def _beats(self, one: int, other: int) -> bool:
        a, b = self.points[one], self.points[other]
        return (a.share, -a.map50) != (b.share, -b.map50) and (
            a.share <= b.share and a.map50 >= b.map50
        )

    def fastest_near(self, loss: float = NEAR) -> int:
        """The number of the fastest that loses at most so much mAP of the dense one's."""
        least = self.points[0].map50 - loss
        near = [n for n, point in enumerate(self.points) if point.map50 >= least]
        return min(near, key=lambda n: self.points[n].share)

    def shown(self) -> Shown:
        """A row a point, those of the front marked; what is recommended below."""
        near = self.fastest_near()
        advice = (
            f"fastest within {NEAR:g} of the dense network's mAP: #{near}, "
            f"{self.points[near].name} ({self.points[near].share:.2f} of the time)"
        )
        return Shown(
            title=(
                f"Levers of {self.title}: mAP@0.5 (coco) on {counted(self.images, 'image')}; "
                f"ONNX Runtime, {counted(self.threads, 'thread')}"
            ),
            summary=advice,
            header=("#", "Network", "mAP@0.5", "ms", "of dense", "front"),
            rows=[
                (
                    number,
                    point.name,
                    f"{point.map50:.4f}",
                    f"{point.ms:.2f}",
                    f"{point.share:.2f}",
                    "yes" if number in self.front else "",
                )
                for number, point in enumerate(self.points)
            ],
            lines=[advice],
            document={
                "images": self.images,
                "threads": self.threads,
                "points": [asdict(point) for point in self.points],
                "front": list(self.front),
                "fastest_near": near,
            },
        )


def pull_levers(
    network: AnyModel,
    data: str | Path,
    images: str | Path,
    out: str | Path,
    *,
    levers: Sequence[str] = LEVERS,
    shares: Sequence[float] = SHARES,
    split: str | None = None,
    limit: int | None = None,
    calibration_images: int = PRUNING.calibration_images,
    seed: int = PRUNING.seed,
    threads: int = QUANTIZATION.threads,
    reporter: Reporter = SILENT,
) -> Levers:
    """Try levers of a Darknet network alone and together; write each network into `out`.

    `width`: pruned to these `shares` of the MACs and re-fitted; `input`: images of 0.8 and 0.6 of
    the sides; `int8`: as `quantize` does. All are judged on the labeled images of `data`, and learn
    from `images` that are not among them; each is timed beside the dense network in one process.
    A point that is there is not made again. Raises `UsageError` for an unknown lever, an ONNX
    network, shares outside of (0, 1) and points of another network, `DatasetError` where no image
    is left to learn from.
    """
    if unknown := [lever for lever in levers if lever not in LEVERS]:
        raise UsageError(f"lever {unknown[0]!r} is unknown (known: {', '.join(LEVERS)})")
    if not all(0 < share < 1 for share in shares):
        raise UsageError(f"shares of MACs to keep must be in (0, 1), not {list(shares)}")
    dense = opened(network)
    if not isinstance(dense.document, DarknetDocument):
        raise UsageError(f"{dense.document.title}: levers are for Darknet networks so far")
    out = Path(out)
    judged = read_dataset(
        Path(data), classes=detector(dense).classes, known=dense.document.names, split=split,
        limit=limit,
    )  # fmt: skip
    images = Path(images)
    measured = [image.path for image in judged.images]
    paths = without(images, dataset_images(images), measured, reporter)
    trial = _Trial(
        dense=dense,
        data=(Path(data), split, limit),
        judged=judged,
        images=images,
        paths=paths,
        out=out,
        count=calibration_images,
        seed=seed,
        threads=threads,
        reporter=reporter,
    )
    out.mkdir(parents=True, exist_ok=True)
    with locked(out):
        settings = list(_settings(dense, levers, shares))
        points = tuple(trial.point(*each) for each in reporter.track(settings, "levers"))
        found = Levers(
            title=dense.document.title,
            points=tuple(point for point in points if point is not None),
            images=len(judged.images),
            threads=threads,
        )
        write_json(out / "levers.json", found.shown().document)
    return found


def _settings(
    dense: Model, levers: Sequence[str], shares: Sequence[float]
) -> Iterator[tuple[int, int, float, bool]]:
    """Height, width, share of the MACs, int8 or not: the dense network's first."""
    height, width = _shape(dense)
    sizes = [(height, width)]
    if "input" in levers:
        sizes += [
            (_side(height, share), _side(width, share))
            for share in SIZES
            if (_side(height, share), _side(width, share)) not in sizes
        ]
    kept = [1.0, *(sorted(set(shares), reverse=True) if "width" in levers else ())]
    forms = [False, True] if "int8" in levers else [False]
    for (rows, columns), share, int8 in product(sizes, kept, forms):
        yield rows, columns, share, int8


def _side(side: int, share: float) -> int:
    return max(STRIDE, round(side * share / STRIDE) * STRIDE)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Trial:
    """The dense network, and what others are made of it and judged with."""

    dense: Model
    data: tuple[Path, str | None, int | None]
    judged: Dataset
    images: Path
    paths: tuple[Path, ...]
    out: Path
    count: int
    seed: int
    threads: int
    reporter: Reporter

    def point(self, height: int, width: int, share: float, int8: bool) -> Point | None:
        """The point of these levers, read or made; None where int8 loses too much."""
        name = _name(height, width, share) + ("-int8" if int8 else "")
        record, file = self.out / f"{name}.json", self.out / f"{name}.onnx"
        if record.exists() and file.exists():
            kept = read_document(record, Point, fault=UsageError)
            if kept.of != self.dense.sha256:
                raise UsageError(f"{record}: of another network: choose another folder")
            return kept
        try:
            model = self._model(height, width, share)
            if int8:
                data, split, limit = self.data
                quantize(
                    model, self.images, file, data=data, split=split, limit=limit,
                    max_loss=INT8_LOSS, seed=self.seed, threads=self.threads,
                )  # fmt: skip
            else:
                ONNX.write(model, file, form_of(model))
        except (VerificationError, CfgError) as error:
            self.reporter.warn(f"{name} is left out: {error}")
            return None
        whole, found = load(self.out / f"{_name(*_shape(self.dense))}.onnx"), load(file)
        timed = side_by_side(whole, found, ONNXRUNTIME.name, self.threads)
        made = Point(
            width=width,
            height=height,
            keep_macs=share,
            int8=int8,
            map50=evaluate(detector(found, engine=ONNXRUNTIME.name), self.judged).map50,
            ms=timed.slim_ms,
            share=timed.share,
            file=file.name,
            of=self.dense.sha256,
        )
        write_json(record, asdict(made))
        return made

    def _model(self, height: int, width: int, share: float) -> Model:
        sized = self.dense
        if (height, width) != _shape(self.dense):
            sized = for_input_size(self.dense, height, width)
            # It is in no file.
            sized = replace(sized, document=replace(sized.document, source=()))  # type: ignore[type-var]
        if share == 1:
            return sized
        reads = detector(sized).reads
        calibration = choose_calibration(
            sized, reads, self.images, self.paths, self.count, self.seed, self.reporter
        )
        cut = prune(
            sized,
            {"macs": share},
            criterion=ON_IMAGES,
            calibration=calibration,
            seed=self.seed,
        )
        return recover(cut, calibration, seed=self.seed).slim


def _shape(dense: Model) -> tuple[int, int]:
    """Height and width of what a Darknet network reads."""
    _, height, width = darknet(dense).spec.input_shape
    return height, width


def _name(height: int, width: int, share: float = 1.0) -> str:
    return f"{width}x{height}-{share:g}"
