"""`yoloprune detect`: find objects in images or a video and draw them."""

import json
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from yoloprune.cli.console import (
    CfgPath,
    Json,
    Quiet,
    WeightsPath,
    output,
    print_json,
    print_table,
    track,
)
from yoloprune.errors import DatasetError
from yoloprune.files import write_atomically, write_text

if TYPE_CHECKING:
    from yoloprune.data.images import Image
    from yoloprune.detection.decode import Detections

    Find = Callable[[Image], Detections]

VIDEO_SUFFIXES = frozenset({".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".webm"})

_KEPT_SUFFIXES = frozenset({".jpeg", ".jpg", ".png"})


def detect(
    cfg: CfgPath,
    weights: WeightsPath,
    source: Annotated[
        Path, typer.Argument(metavar="SOURCE", help="Image, folder, .txt list of images, or video.")
    ],
    out: Annotated[
        Path,
        typer.Option(metavar="DIR", help="Folder for the annotated pictures and detections.json."),
    ],
    threshold: Annotated[float, typer.Option(min=0, max=1, help="Show scores above this.")] = 0.25,
    nms: Annotated[float, typer.Option(min=0, max=1, help="IoU that suppression allows.")] = 0.45,
    names: Annotated[Path | None, typer.Option(help=".names file, a class name a line.")] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Find objects in images or a video, draw them, and list them in DIR/detections.json."""
    from yoloprune.darknet.parser import read_cfg
    from yoloprune.darknet.weights import read_weights
    from yoloprune.data.images import darknet_resize
    from yoloprune.data.text_files import default_names, read_names
    from yoloprune.detection.decode import class_count
    from yoloprune.evaluation.inference import detect_objects
    from yoloprune.model.network import Network

    spec = read_cfg(cfg)
    classes = class_count(spec)
    class_names = read_names(names, classes) if names else default_names(classes)
    network = Network.from_state(spec, read_weights(weights, spec))
    resize = darknet_resize(spec)

    def find(image: "Image") -> "Detections":
        return detect_objects(network, image, resize, threshold=threshold, iou_threshold=nms)

    is_video = source.suffix.lower() in VIDEO_SUFFIXES and source.is_file()
    process = _detect_video if is_video else _detect_images
    pictures = process(source, out, find, class_names, quiet)
    report = {
        "cfg": str(cfg),
        "weights": str(weights),
        "source": str(source),
        "threshold": threshold,
        "nms": nms,
        "names": class_names,
        "frames" if is_video else "images": pictures,
    }
    write_text(out / "detections.json", json.dumps(report, indent=1) + "\n")
    if as_json:
        print_json(report)
    else:
        _print(pictures, "frames" if is_video else "images", out)


def annotated_paths(images: Sequence[Path], out: Path) -> list[Path]:
    """Where under `out` each image goes: its place below the images' common folder.

    JPEG and PNG keep their names, others become JPEG; a name that is taken gets a further suffix.
    Raises `DatasetError` if a picture would replace one of the images.
    """
    originals = [image.resolve() for image in images]
    common = os.path.commonpath([original.parent for original in originals])
    targets: dict[Path, None] = {}
    for original in originals:
        target = out / original.relative_to(common)
        if original.suffix.lower() not in _KEPT_SUFFIXES:
            target = target.with_suffix(".jpg")
        while target in targets:
            target = target.with_name(f"{target.name}.jpg")
        targets[target] = None
    replaced = {target.resolve() for target in targets}.intersection(originals)
    if replaced:
        raise DatasetError(f"--out {out} would replace {min(replaced)}: choose another folder")
    return list(targets)


def _images(source: Path, out: Path) -> list[Path]:
    """The images of a source, without the pictures of an earlier run into a folder inside it."""
    from yoloprune.data.images import list_images

    images = list_images(source)
    folder, target = source.resolve(), out.resolve()
    if folder == target or not target.is_relative_to(folder):
        return list(images)
    return [path for path in images if not path.resolve().is_relative_to(target)]


def _detect_images(
    source: Path, out: Path, find: "Find", names: Sequence[str], quiet: bool
) -> list[dict[str, Any]]:
    from yoloprune.data.images import read_image, write_image
    from yoloprune.detection.drawing import draw_detections

    images = _images(source, out)
    work = list(zip(images, annotated_paths(images, out), strict=True))
    pictures = []
    for path, target in track(work, "detecting", len(work), quiet):
        image = read_image(path)
        found = find(image)
        write_image(target, draw_detections(image, found, names))
        pictures.append(
            {
                "file": str(path),
                "annotated": target.relative_to(out).as_posix(),
                "width": image.shape[1],
                "height": image.shape[0],
                "detections": _listed(found, names),
            }
        )
    return pictures


def _detect_video(
    source: Path, out: Path, find: "Find", names: Sequence[str], quiet: bool
) -> list[dict[str, Any]]:
    import cv2

    from yoloprune.detection.drawing import draw_detections

    target = out / f"{source.stem}.mp4"
    if target.resolve() == source.resolve():
        raise DatasetError(f"--out {out} would replace {source}: choose another folder")
    capture = cv2.VideoCapture(str(source))
    rate = capture.get(cv2.CAP_PROP_FPS)
    rate = rate if 0 < rate < 1000 else 25.0
    count = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
    frames = track(_frames(capture), "detecting", count if count > 0 else None, quiet)
    if (first := next(frames, None)) is None:
        raise DatasetError(f"{source}: no frame can be decoded: not a video, or damaged")
    height, width = first.shape[:2]
    pictures = []
    with write_atomically(target) as temporary:
        codec = cv2.VideoWriter.fourcc(*"mp4v")
        writer = cv2.VideoWriter(str(temporary), codec, rate, (width, height))
        if not writer.isOpened():
            raise DatasetError(f"{target}: cannot write {width}x{height} video")
        for number, image in enumerate(chain([first], frames)):
            found = find(image)
            drawn = draw_detections(image, found, names)
            writer.write(cv2.cvtColor(drawn, cv2.COLOR_RGB2BGR))
            pictures.append(
                {
                    "frame": number,
                    "seconds": number / rate,
                    "width": width,
                    "height": height,
                    "detections": _listed(found, names),
                }
            )
        writer.release()
    return pictures


def _frames(capture: Any) -> "Iterator[Image]":
    import cv2

    while True:
        decoded, frame = capture.read()
        if not decoded:
            return
        yield cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)


def _listed(found: "Detections", names: Sequence[str]) -> list[dict[str, Any]]:
    """Detections as plain data: box [left, top, right, bottom] in the picture's pixels."""
    return [
        {
            "box": [round(value, 2) for value in box],
            "score": round(score, 6),
            "class": label,
            "name": names[label],
        }
        for box, score, label in zip(
            found.boxes_xyxy.tolist(), found.scores.tolist(), found.labels.tolist(), strict=True
        )
    ]


def _print(pictures: list[dict[str, Any]], what: str, out: Path) -> None:
    found = [entry for picture in pictures for entry in picture["detections"]]
    counts = Counter(entry["name"] for entry in found)
    rows = [
        (name, count, f"{max(e['score'] for e in found if e['name'] == name):.2f}")
        for name, count in counts.most_common()
    ]
    if rows:
        print_table("Found", ("class", "objects", "best score"), rows)
    output.print(
        f"{len(pictures)} {what}, {len(found)} objects; drawn and listed (detections.json) in {out}"
    )
