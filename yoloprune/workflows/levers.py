"""Input size, width, depth and int8 together: which of them buy accuracy cheapest."""

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path

from yoloprune.counting import counted
from yoloprune.data.read import dataset_images, read_dataset
from yoloprune.errors import CfgError, GraphError, PlanError, UsageError, VerificationError
from yoloprune.files import write_json
from yoloprune.frontends.onnx.resized import image_size
from yoloprune.graph.edits import Reading
from yoloprune.graph.model import Model
from yoloprune.locks import locked
from yoloprune.report.levers_plot import Spot, write_levers_picture
from yoloprune.report.shown import Result, Shown
from yoloprune.reporter import SILENT, Reporter
from yoloprune.workflows.defaults import PRUNING, QUANTIZATION
from yoloprune.workflows.detectors import class_count_of
from yoloprune.workflows.lever_points import Point, Setting, Workshop
from yoloprune.workflows.models import AnyModel, opened, sized
from yoloprune.workflows.overlap import without

LEVERS = ("width", "input", "depth", "int8")

SHARES, SIZES, BLOCKS = (0.8, 0.6), (0.9, 0.8, 0.7, 0.6, 0.5), (2, 4)
"""Shares of the MACs, and of the sides of images, and blocks removed, that are tried."""

STRIDE = 32
"""What sides of images are multiples of."""

NEAR = 0.02
"""How much less mAP than the dense network's a recommended one may have."""

WORTH = 0.5
"""The share of the dense network's mAP under which no further lever is put to a point."""

BEST_AT = (0.7, 0.5, 0.35)
"""Shares of the dense network's time within which the best is recommended."""

FILE = "sweep.json"


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Levers(Result):
    """Points, the dense network first; `left_out` says what could not be tried, and why."""

    title: str
    points: tuple[Point, ...]
    images: int
    threads: int
    left_out: tuple[str, ...] = ()

    @property
    def front(self) -> tuple[int, ...]:
        """Numbers of the points than which none is both faster and better, the slowest first."""
        return front(self.points)

    def fastest_near(self, loss: float = NEAR) -> int:
        """The number of the fastest that loses at most so much mAP of the dense one's."""
        least = self.points[0].map50 - loss
        near = [n for n, point in enumerate(self.points) if point.map50 >= least]
        return min(near, key=lambda n: self.points[n].share)

    def best_at(self, share: float) -> int | None:
        """The number of the best within a share of the dense network's time; None if none is."""
        fast = [n for n, point in enumerate(self.points) if point.share <= share]
        return max(fast, key=lambda n: self.points[n].map50, default=None)

    def shown(self) -> Shown:
        """A row a point, those of the front marked; what is recommended below."""
        dense = self.points[0].time.slim_ms
        near = self.fastest_near()
        advice = [f"fastest within {NEAR:g} of the dense network's mAP: {self._told(near)}"]
        best = {str(share): self.best_at(share) for share in BEST_AT}
        advice += [
            f"best at {dense * float(share):.3g} ms, {share} of the dense network's: "
            + ("none is as fast" if number is None else self._told(number))
            for share, number in best.items()
        ]
        return Shown(
            title=(
                f"Levers of {self.title}: mAP@0.5 (coco) on {counted(self.images, 'image')}; "
                f"ONNX Runtime, {counted(self.threads, 'thread')}"
            ),
            summary=advice[0],
            header=("#", "Network", "mAP@0.5", "ms", "of dense", "unbeaten"),
            rows=[
                (
                    number,
                    point.setting.name,
                    f"{point.map50:.4f}",
                    f"{dense * point.share:.2f}",
                    f"{point.share:.2f}",
                    "yes" if number in self.front else "",
                )
                for number, point in enumerate(self.points)
            ],
            lines=[*advice, *(f"left out: {reason}" for reason in self.left_out)],
            document={
                "images": self.images,
                "threads": self.threads,
                "points": [asdict(point) for point in self.points],
                "front": list(self.front),
                "fastest_near": near,
                "best_at": best,
                "left_out": list(self.left_out),
            },
        )

    def _told(self, number: int) -> str:
        point = self.points[number]
        return f"#{number}, {point.setting.name} ({point.share:.2f} of the time, {point.map50:.3f})"

    def save(self, folder: str | Path) -> list[str]:
        """Write sweep.json and sweep.png into a folder; gives their names."""
        folder, dense = Path(folder), self.points[0].time.slim_ms
        spots = [
            Spot(ms=dense * p.share, map50=p.map50, name=p.setting.name, int8=p.setting.int8)
            for p in self.points
        ]
        write_json(folder / FILE, self.shown().document)
        write_levers_picture(folder / "sweep.png", spots, self.front)
        return [FILE, "sweep.png"]


def front(points: Sequence[Point]) -> tuple[int, ...]:
    """Numbers of the points than which none is both faster and better, the slowest first."""

    def beats(a: Point, b: Point) -> bool:
        same = (a.share, a.map50) == (b.share, b.map50)
        return not same and a.share <= b.share and a.map50 >= b.map50

    best = [n for n, own in enumerate(points) if not any(beats(other, own) for other in points)]
    return tuple(sorted(best, key=lambda n: -points[n].share))


def pull_levers(
    network: AnyModel,
    data: str | Path,
    images: str | Path,
    out: str | Path,
    *,
    levers: Sequence[str] = LEVERS,
    shares: Sequence[float] = SHARES,
    ms_shares: Sequence[float] = (),
    split: str | None = None,
    limit: int | None = None,
    calibration_images: int = PRUNING.calibration_images,
    distill_minutes: float | None = None,
    seed: int = PRUNING.seed,
    threads: int = QUANTIZATION.threads,
    preprocess: str | None = None,
    decoder: str | None = None,
    reporter: Reporter = SILENT,
) -> Levers:
    """Try levers of a network alone and together; write each network into a folder of `out`.

    `width`: pruned to these `shares` of the MACs, and to `ms_shares` of the time; `depth`: without
    two or four residual blocks, or as many as there are; both re-fitted, and distilled for
    `distill_minutes` each if given.
    `input`: images of 0.9 to 0.5 of the sides, of what none beats at the full size. `int8`: as
    `quantize` does, of what none beats in float. All are judged on the labeled images of `data`,
    and learn from `images` that are not among them; each is timed beside the dense network in one
    process. A point that is there is not made again. `preprocess` and `decoder` are those of
    `detector`. A lever that the network has not is left out, with a warning. Raises `UsageError`
    for an unknown lever, shares outside of (0, 1) and points of another network, `DatasetError`
    where no image is left to learn from.
    """
    if unknown := [lever for lever in levers if lever not in LEVERS]:
        raise UsageError(f"lever {unknown[0]!r} is unknown (known: {', '.join(LEVERS)})")
    for what, given in (("MACs", shares), ("time", ms_shares)):
        if not all(0 < share < 1 for share in given):
            raise UsageError(f"shares of {what} to keep must be in (0, 1), not {list(given)}")
    if distill_minutes is not None and not 0 < distill_minutes < math.inf:
        raise UsageError(f"`distill_minutes` {distill_minutes:g} must be a number above 0")
    dense = opened(network)
    out, images = Path(out), Path(images)
    judged = read_dataset(
        Path(data), classes=class_count_of(dense, preprocess=preprocess, decoder=decoder),
        known=dense.document.names, split=split, limit=limit,
    )  # fmt: skip
    measured = [image.path for image in judged.images]
    shop = Workshop(
        dense=dense,
        data=(Path(data), split, limit),
        judged=judged,
        images=images,
        paths=without(images, dataset_images(images), measured, reporter),
        out=out,
        count=calibration_images,
        seed=seed,
        threads=threads,
        minutes=distill_minutes,
        preprocess=preprocess,
        decoder=decoder,
        reporter=reporter,
    )
    out.mkdir(parents=True, exist_ok=True)
    with locked(out):
        points, left_out = _pulled(shop, set(levers), shares, ms_shares)
        found = Levers(
            title=dense.document.title,
            points=tuple(points),
            images=len(judged.images),
            threads=threads,
            left_out=tuple(left_out),
        )
        found.save(out)
    return found


def _pulled(
    shop: Workshop, levers: set[str], shares: Sequence[float], ms_shares: Sequence[float]
) -> tuple[list[Point], list[str]]:
    """The points, and what was left out: width and depth first, then sizes, then int8."""
    points: list[Point] = []
    left_out: list[str] = []

    def note(reason: object) -> None:
        left_out.append(str(reason))
        shop.reporter.warn(f"left out: {reason}")

    def add(setting: Setting) -> None:
        try:
            points.append(shop.point(setting, order))
        except (VerificationError, PlanError) as error:
            note(f"{setting.name}: {error}")

    order: tuple[Reading, ...] = ()
    if "depth" in levers:
        try:
            order = shop.block_order(max(BLOCKS))
        except PlanError as error:
            note(f"depth: {error}")
    height, width = image_size(shop.dense)
    whole = Setting(height=height, width=width)
    widths = [whole]
    if "width" in levers:
        widths += [replace(whole, keep_macs=own) for own in sorted(set(shares), reverse=True)]
        widths += [replace(whole, keep_ms=own) for own in sorted(set(ms_shares), reverse=True)]
    blocks = sorted({0, *(min(count, len(order)) for count in BLOCKS)})
    settings = [replace(own, blocks=count) for own, count in product(widths, blocks)]
    for setting in shop.reporter.track(settings, "width and depth"):
        add(setting)
    fitting = _sizes(shop.dense, note) if "input" in levers else []
    settings = [
        replace(points[n].setting, height=rows, width=columns)
        for rows, columns in fitting
        for n in _followed(points)
    ]
    for setting in shop.reporter.track(settings, "input sizes"):
        add(setting)
    settings = [replace(points[n].setting, int8=True) for n in _followed(points)]
    for setting in shop.reporter.track(settings if "int8" in levers else [], "int8"):
        add(setting)
    return points, left_out


def _followed(points: Sequence[Point]) -> list[int]:
    """Numbers of the points to which a further lever is put: the dense one's, and good ones'."""
    least = WORTH * points[0].map50
    return sorted({0, *(n for n in front(points) if points[n].map50 >= least)})


def _sizes(dense: Model, note: Callable[[object], None]) -> list[tuple[int, int]]:
    """Smaller sizes of images that a network can read."""
    height, width = image_size(dense)
    found: list[tuple[int, int]] = []
    for share in SIZES:
        sides = _side(height, share), _side(width, share)
        if sides in (*found, (height, width)):
            continue
        try:
            sized(dense, *sides)
        except (CfgError, GraphError) as error:
            note(f"input: {error}")
            break
        found.append(sides)
    return found


def _side(side: int, share: float) -> int:
    return max(STRIDE, round(side * share / STRIDE) * STRIDE)
