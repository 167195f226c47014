"""Objects in images, films and cameras, found by one network or by two that are compared."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache, partial
from itertools import islice
from pathlib import Path
from time import monotonic
from typing import Any

from yoloprune.counting import counted
from yoloprune.data.annotated import annotated_paths, film_paths
from yoloprune.data.images import Image, in_channels, read_image, write_image
from yoloprune.data.names import fitting_names
from yoloprune.data.sources import Video, find_sources
from yoloprune.data.text_files import default_names
from yoloprune.data.videos import film, open_video
from yoloprune.detection.decode import Detections
from yoloprune.detection.drawing import draw_detections, side_by_side
from yoloprune.detection.matching import SAME_IOU, found_by_both
from yoloprune.detection.nms import IOU_THRESHOLD, SCORE_THRESHOLD
from yoloprune.devices import AUTO
from yoloprune.engines.table import DEFAULT_ENGINE
from yoloprune.errors import UsageError
from yoloprune.evaluation.detector import Detector, detect_objects
from yoloprune.files import write_folder, write_json, write_text
from yoloprune.graph.model import Model
from yoloprune.interrupts import stop_flag
from yoloprune.report.detections import detections_csv, listed, pictures_of
from yoloprune.report.shown import Result, Shown
from yoloprune.reporter import SILENT, Reporter
from yoloprune.workflows.detectors import detector, tell_if_dead
from yoloprune.workflows.models import AnyModel, opened

_View = Callable[[int], Image]
"""Gives an image in as many channels as asked for: 3 to draw on, a network's own to look at."""

_Look = Callable[[_View], tuple[Image, dict[str, Any]]]
"""Gives an image with what was found drawn in, and as data."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Looker:
    """A detector, what to call it, and what it shows."""

    title: str
    detector: Detector
    threshold: float
    nms: float

    def find(self, view: _View) -> Detections:
        image = view(self.detector.reads.channels)
        return detect_objects(
            self.detector, image, threshold=self.threshold, iou_threshold=self.nms
        )


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Found(Result):
    """What one network, or two of these `titles`, found; drawn and listed in the folder `out`.

    `document` is what detections.json holds.
    """

    document: Mapping[str, Any]
    titles: tuple[str, ...]
    out: Path

    def shown(self) -> Shown:
        """How many objects of each class, by network."""
        pictures = list(pictures_of(self.document))
        lists = [[entry for picture in pictures for entry in picture["detections"]]]
        if len(self.titles) > 1:
            lists.append([e for picture in pictures for e in picture["compared"]["detections"]])
        images = len(self.document["images"])
        counts = [counted(images, "image")] if images else []
        counts += [counted(len(pictures) - images, "frame")] if len(pictures) > images else []
        objects = " and ".join(str(len(found)) for found in lists)
        noun = "object" if [len(found) for found in lists] == [1] else "objects"
        total = f"{', '.join(counts)}, {objects} {noun}; drawn and listed in {self.out}"
        return Shown(
            title=f"Found by {' and '.join(self.titles)}",
            summary=total,
            header=("class", "network", "objects", "best score"),
            rows=[
                (name, title, count, f"{max(e['score'] for e in found if e['name'] == name):.2f}")
                for title, found in zip(self.titles, lists, strict=True)
                for name, count in Counter(entry["name"] for entry in found).most_common()
            ],
            lines=[*self._shared(pictures), total],
            document=self.document,
        )

    def _shared(self, pictures: Sequence[Mapping[str, Any]]) -> list[str]:
        """What two networks have in common, in a line."""
        if len(self.titles) == 1:
            return []
        both, first, second = (
            sum(picture["compared"][key] for picture in pictures)
            for key in ("both", "only_first", "only_second")
        )
        return [
            f"both found {counted(both, 'object')}, {self.titles[0]} alone {first}, "
            f"{self.titles[1]} alone {second} (one class, IoU at least {SAME_IOU:g})"
        ]


def detect(
    model: AnyModel,
    sources: str | Path | Sequence[str | Path],
    *,
    out: str | Path,
    against: AnyModel | None = None,
    names: Sequence[str] | None = None,
    threshold: float = SCORE_THRESHOLD,
    nms: float = IOU_THRESHOLD,
    limit: int | None = None,
    engine: str = DEFAULT_ENGINE,
    device: str = AUTO,
    preprocess: str | None = None,
    decoder: str | None = None,
    reporter: Reporter = SILENT,
) -> Found:
    """Find objects, draw them, and list them in `out`, as detections.json and .csv.

    Sources are images, folders, .txt lists, patterns, videos, a camera's number, streams'
    addresses. Scores above `threshold` are shown; `nms` is the IoU that suppression allows. Two
    networks are drawn side by side, with thick lines around what one of them alone has found. Names
    of the classes are those beside a network, or in a folder of images, unless given. The first
    `limit` images, and frames of each video, are looked at. `engine`, `device`, `preprocess` and
    `decoder` are those of `detector`; it is warned where images so read leave a network dead.

    Raises `DatasetError` for sources that cannot be read, or that would be replaced, `UsageError`
    for networks of different classes, and whatever `detector` raises.
    """
    if isinstance(sources, str | Path):
        sources = [sources]
    models = [opened(each) for each in (model, against) if each is not None]
    lookers = [
        _Looker(
            title=each.document.title,
            detector=detector(
                each, engine=engine, device=device, preprocess=preprocess, decoder=decoder
            ),
            threshold=threshold,
            nms=nms,
        )
        for each in models
    ]
    classes = _common_classes(lookers)
    known = names or _names_beside(models, sources, classes)
    class_names = tuple(known or default_names(classes))
    look, out = _look(lookers, class_names), Path(out)
    images, videos = find_sources([str(source) for source in sources], leave_out=out)
    images = images[:limit]
    for looker in lookers:
        tell_if_dead(looker.detector, images, reporter)
    targets = annotated_paths(images, out)
    films = film_paths(videos, targets, out)
    work = list(zip(images, (path.relative_to(out) for path in targets), strict=True))
    files = [list(map(str, each.document.source)) for each in models]
    with write_folder(out) as folder:
        document = {
            **_named(models[0]),
            "compared_with": files[1] or None if len(files) > 1 else None,
            "preprocess": lookers[0].detector.reads.document(),
            "decoder": lookers[0].detector.decoder,
            "threshold": threshold,
            "nms": nms,
            "names": class_names,
            "images": [
                _image(path, target, folder, look)
                for path, target in reporter.track(work, "detecting")
            ],
            "videos": [
                _video(video, folder / path.name, look, limit, reporter)
                for video, path in zip(videos, films, strict=True)
            ],
        }
        titles = [looker.title for looker in lookers]
        write_json(folder / "detections.json", document)
        write_text(folder / "detections.csv", detections_csv(document, titles))
    if known is None:
        reporter.say("note: no names found for the classes: they are numbered")
    return Found(document=document, titles=tuple(titles), out=out)


def _named(model: Model) -> dict[str, str | None]:
    """The files of a network by their kinds; None where it was made, or read from one of many."""
    if model.document.suffix == ".cfg":
        cfg, weights = map(str, model.document.source) if model.document.source else (None, None)
        return {"cfg": cfg, "weights": weights}
    return {"onnx": str(model.document.source[0]) if model.document.source else None}


def _common_classes(lookers: Sequence[_Looker]) -> int:
    counts = [looker.detector.classes for looker in lookers]
    if len(set(counts)) > 1:
        raise UsageError(f"the networks have {counts[0]} and {counts[1]} classes: not comparable")
    return counts[0]


def _names_beside(
    models: Sequence[Model], sources: Sequence[str | Path], classes: int
) -> tuple[str, ...] | None:
    """The names that stand beside a network, or else in a folder of images."""
    for model in models:
        if model.document.names is not None:
            return model.document.names
    folders = [Path(source) for source in sources if Path(source).is_dir()]
    found = (fitting_names(folder, classes) for folder in folders)
    return next(filter(None, found), None)


def _look(lookers: Sequence[_Looker], names: Sequence[str]) -> _Look:
    def alone(view: _View) -> tuple[Image, dict[str, Any]]:
        image, found = view(3), lookers[0].find(view)
        return draw_detections(image, found, names), _entry(image, found, names)

    def compared(view: _View) -> tuple[Image, dict[str, Any]]:
        image, found = view(3), [looker.find(view) for looker in lookers]
        shared = found_by_both(*found)
        both = int(shared[0].sum())
        pictures = [
            draw_detections(image, detections, names, emphasized=(~common).tolist())
            for detections, common in zip(found, shared, strict=True)
        ]
        captions = [
            f"{looker.title}: {counted(len(detections.labels), 'object')}, "
            f"{len(detections.labels) - both} only here"
            for looker, detections in zip(lookers, found, strict=True)
        ]
        comparison = {
            "detections": listed(found[1], names),
            "both": both,
            "only_first": len(found[0].labels) - both,
            "only_second": len(found[1].labels) - both,
        }
        entry = _entry(image, found[0], names) | {"compared": comparison}
        return side_by_side(pictures, captions), entry

    return alone if len(lookers) == 1 else compared


def _entry(image: Image, found: Detections, names: Sequence[str]) -> dict[str, Any]:
    height, width = image.shape[:2]
    return {"width": width, "height": height, "detections": listed(found, names)}


def _image(path: Path, target: Path, folder: Path, look: _Look) -> dict[str, Any]:
    # Decoded gray, an image differs by a level here and there from its colors turned gray.
    drawn, entry = look(cache(partial(read_image, path)))
    write_image(folder / target, drawn)
    return {"file": str(path), "annotated": target.as_posix()} | entry


def _video(
    video: Video, target: Path, look: _Look, limit: int | None, reporter: Reporter
) -> dict[str, Any]:
    """Look at a film to its end; at a camera or a stream until Ctrl-C, if it has no end."""
    entries = []
    with open_video(video) as frames, ExitStack() as stack:
        stopped = stack.enter_context(stop_flag()) if video.is_live else lambda: False
        write: Callable[[Image], None] | None = None
        started = monotonic()
        total = min((n for n in (frames.count, limit) if n is not None), default=None)
        what = f"detecting in {video.title}"
        shown = reporter.track(islice(frames.images, limit), what, total=total)
        for number, image in enumerate(shown):
            drawn, entry = look(partial(in_channels, image))
            if write is None:
                height, width = drawn.shape[:2]
                write = stack.enter_context(film(target, frames.rate, width, height))
            write(drawn)
            seconds = monotonic() - started if video.is_live else number / frames.rate
            entries.append({"frame": number, "seconds": round(seconds, 3)} | entry)
            if stopped():
                break
    return {"source": video.title, "annotated": target.name, "frames": entries}
