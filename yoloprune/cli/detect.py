"""`yoloprune detect`: find objects in images, films and cameras, draw them, compare networks."""

import json
import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache, partial
from itertools import islice
from pathlib import Path
from time import monotonic
from typing import Annotated, Any

import typer

from yoloprune.cli.console import ConsoleReporter, output, print_json, print_table
from yoloprune.cli.networks import NetworkFiles, first_network, holds_network
from yoloprune.cli.options import Json, Quiet
from yoloprune.darknet.parser import read_cfg
from yoloprune.darknet.spec import NetworkSpec, class_count
from yoloprune.darknet.weights import read_weights
from yoloprune.data.images import (
    Image,
    darknet_resize,
    image_channels,
    in_channels,
    read_image,
    write_image,
)
from yoloprune.data.names import fitting_names, names_of_data
from yoloprune.data.sources import Video, find_sources
from yoloprune.data.text_files import default_names, read_names
from yoloprune.data.videos import film, open_video
from yoloprune.detection.decode import Detections
from yoloprune.detection.drawing import draw_detections, side_by_side
from yoloprune.detection.matching import SAME_IOU, found_by_both
from yoloprune.detection.nms import IOU_THRESHOLD, SCORE_THRESHOLD
from yoloprune.errors import CfgError, DatasetError
from yoloprune.evaluation.inference import detect_objects
from yoloprune.files import write_folder, write_text
from yoloprune.interrupts import stop_flag
from yoloprune.model.network import Network
from yoloprune.report.detections import detections_csv, listed, pictures_of
from yoloprune.reporter import Reporter
from yoloprune.workflows.models import title

_KEPT_SUFFIXES = frozenset({".jpeg", ".jpg", ".png"})


_View = Callable[[int], Image]
"""Gives an image in as many channels as asked for: 3 to draw on, a network's own to look at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Detector:
    """A network, what to call it, and how it looks at an image."""

    title: str
    find: Callable[[_View], Detections]


_Look = Callable[[_View], tuple[Image, dict[str, Any]]]
"""Gives an image with what was found drawn in, and as data."""


def detect(
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="CFG WEIGHTS [CFG2 WEIGHTS2] SOURCE...",
            help="Network, perhaps a second one to compare (a folder stands for its pair); then "
            "images, folders, .txt lists, 'patterns/*.jpg', videos, a camera's number, addresses.",
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(metavar="DIR", help="Folder for the annotated pictures and the detections."),
    ],
    threshold: Annotated[
        float, typer.Option(min=0, max=1, help="Show scores above this.")
    ] = SCORE_THRESHOLD,
    nms: Annotated[
        float, typer.Option(min=0, max=1, help="IoU that suppression allows.")
    ] = IOU_THRESHOLD,
    names: Annotated[
        Path | None,
        typer.Option(help="File of class names.", show_default="those beside network or images"),
    ] = None,
    data: Annotated[Path | None, typer.Option(help="Data set that names the classes.")] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Look at N images and N frames of each video only.")
    ] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Find objects, draw them, and list them in DIR/detections.json and .csv.

    Two networks are drawn side by side, with thick lines around what one of them alone has found.
    """
    reporter = ConsoleReporter(quiet=quiet)
    files, sources = _networks(words)
    specs = [read_cfg(cfg) for cfg, _ in files]
    classes = _common_classes(specs)
    known = _class_names(names, data, files, sources, classes)
    class_names = known or default_names(classes)
    detectors = [
        _detector(cfg, spec, weights, threshold, nms)
        for spec, (cfg, weights) in zip(specs, files, strict=True)
    ]
    look = _look(detectors, class_names)
    images, videos = find_sources(sources, leave_out=out)
    images = images[:limit]
    targets = annotated_paths(images, out)
    films = _film_paths(videos, targets, out)
    work = list(zip(images, (path.relative_to(out) for path in targets), strict=True))
    with write_folder(out) as folder:
        document = {
            "cfg": str(files[0][0]),
            "weights": str(files[0][1]),
            "compared_with": [str(path) for path in files[1]] if len(files) > 1 else None,
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
        titles = [detector.title for detector in detectors]
        write_text(folder / "detections.json", json.dumps(document, indent=1) + "\n")
        write_text(folder / "detections.csv", detections_csv(document, titles))
    if known is None:
        reporter.say("note: no names found for the classes: they are numbered")
    if as_json:
        print_json(document)
    else:
        _print(document, titles, out)


def annotated_paths(images: Sequence[Path], out: Path) -> list[Path]:
    """Where under `out` each image goes: its place below the images' common folder.

    JPEG and PNG keep their names, others become JPEG; a name that is taken gets a further suffix.
    Raises `DatasetError` if a picture would replace one of the images.
    """
    originals = [image.resolve() for image in images]
    common = os.path.commonpath([original.parent for original in originals]) if originals else ""
    targets: dict[Path, None] = {}
    for original in originals:
        target = out / original.relative_to(common)
        if original.suffix.lower() not in _KEPT_SUFFIXES:
            target = target.with_suffix(".jpg")
        targets[_free_name(target, targets)] = None
    _refuse_to_replace(originals, targets, out)
    return list(targets)


def _film_paths(videos: Sequence[Video], taken: Sequence[Path], out: Path) -> list[Path]:
    """Where under `out` the annotated films go; raises what `annotated_paths` raises."""
    targets: dict[Path, None] = {}
    for video in videos:
        targets[_free_name(out / f"{video.name}.mp4", {*taken, *targets})] = None
    originals = [Path(str(video.address)).resolve() for video in videos if not video.is_live]
    _refuse_to_replace(originals, targets, out)
    return list(targets)


def _free_name(target: Path, taken: Iterable[Path]) -> Path:
    while target in taken:
        target = target.with_name(f"{target.name}{target.suffix}")
    return target


def _refuse_to_replace(originals: Iterable[Path], targets: Iterable[Path], out: Path) -> None:
    replaced = {target.resolve() for target in targets}.intersection(originals)
    if replaced:
        raise DatasetError(f"--out {out} would replace {min(replaced)}: choose another folder")


def _networks(words: Sequence[str]) -> tuple[list[NetworkFiles], list[str]]:
    """The one or two networks that come first, and the sources after them."""
    first, rest = first_network(words)
    files = [first]
    if rest and holds_network(rest[0]):
        second, rest = first_network(rest)
        files.append(second)
    if not rest:
        raise DatasetError("nothing to look at: name images, a folder, a video, a camera's number")
    return files, rest


def _common_classes(specs: Sequence[NetworkSpec]) -> int:
    counts = [class_count(spec) for spec in specs]
    if len(set(counts)) > 1:
        raise CfgError(f"the networks have {counts[0]} and {counts[1]} classes: not comparable")
    return counts[0]


def _class_names(
    names: Path | None,
    data: Path | None,
    files: Sequence[NetworkFiles],
    sources: Sequence[str],
    classes: int,
) -> tuple[str, ...] | None:
    """What was asked for; or else what stands beside a network, or in a folder of images."""
    if names is not None and data is not None:
        raise DatasetError("class names come from --names or from --data, not from both")
    if names is not None:
        return read_names(names, classes)
    if data is not None:
        return names_of_data(data, classes)
    places = [(cfg.parent, cfg.stem) for cfg, _ in files]
    places += [(Path(word), "") for word in sources if Path(word).is_dir()]
    found = (fitting_names(folder, classes, stem) for folder, stem in places)
    return next(filter(None, found), None)


def _detector(
    cfg: Path, spec: NetworkSpec, weights: Path, threshold: float, nms: float
) -> _Detector:
    network = Network.from_state(spec, read_weights(weights, spec)).for_inference()
    resize, channels = darknet_resize(spec), image_channels(spec)

    def find(view: _View) -> Detections:
        image = view(channels)
        return detect_objects(network, image, resize, threshold=threshold, iou_threshold=nms)

    return _Detector(title=title(cfg), find=find)


def _look(detectors: Sequence[_Detector], names: Sequence[str]) -> _Look:
    def alone(view: _View) -> tuple[Image, dict[str, Any]]:
        image, found = view(3), detectors[0].find(view)
        return draw_detections(image, found, names), _entry(image, found, names)

    def compared(view: _View) -> tuple[Image, dict[str, Any]]:
        image, found = view(3), [detector.find(view) for detector in detectors]
        shared = found_by_both(*found)
        both = int(shared[0].sum())
        pictures = [
            draw_detections(image, detections, names, emphasized=(~common).tolist())
            for detections, common in zip(found, shared, strict=True)
        ]
        captions = [
            f"{detector.title}: {len(detections.labels)} objects, {len(detections.labels) - both} "
            "only here"
            for detector, detections in zip(detectors, found, strict=True)
        ]
        comparison = {
            "detections": listed(found[1], names),
            "both": both,
            "only_first": len(found[0].labels) - both,
            "only_second": len(found[1].labels) - both,
        }
        entry = _entry(image, found[0], names) | {"compared": comparison}
        return side_by_side(pictures, captions), entry

    return alone if len(detectors) == 1 else compared


def _entry(image: Image, found: Detections, names: Sequence[str]) -> dict[str, Any]:
    height, width = image.shape[:2]
    return {"width": width, "height": height, "detections": listed(found, names)}


def _image(path: Path, target: Path, folder: Path, look: _Look) -> dict[str, Any]:
    # Decoded grey, an image differs by a level here and there from its colours turned grey.
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


def _print(document: dict[str, Any], titles: Sequence[str], out: Path) -> None:
    pictures = list(pictures_of(document))
    lists = [[entry for picture in pictures for entry in picture["detections"]]]
    if len(titles) > 1:
        lists.append([e for picture in pictures for e in picture["compared"]["detections"]])
    for name_of, found in zip(titles, lists, strict=True):
        rows = [
            (name, count, f"{max(e['score'] for e in found if e['name'] == name):.2f}")
            for name, count in Counter(entry["name"] for entry in found).most_common()
        ]
        if rows:
            print_table(f"Found by {name_of}", ("class", "objects", "best score"), rows)
    if len(titles) > 1:
        sums = {
            key: sum(picture["compared"][key] for picture in pictures)
            for key in ("both", "only_first", "only_second")
        }
        output.print(
            f"both found {sums['both']} objects, {titles[0]} alone {sums['only_first']}, "
            f"{titles[1]} alone {sums['only_second']} (one class, IoU at least {SAME_IOU:g})"
        )
    frames = len(pictures) - len(document["images"])
    counted = [f"{len(document['images'])} images"] if document["images"] else []
    counted += [f"{frames} frames"] if frames else []
    totals = " and ".join(str(len(found)) for found in lists)
    output.print(
        f"{', '.join(counted)}, {totals} objects; drawn and listed (detections.json, .csv) in {out}"
    )
