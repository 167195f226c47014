"""`yoloprune detect`: find objects in images, films and cameras, draw them, compare networks."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from yoloprune.cli.console import ConsoleReporter, print_result
from yoloprune.cli.engine_options import DecoderName, Device, EngineName, PreprocessText
from yoloprune.cli.networks import first_model
from yoloprune.cli.options import Json, Quiet
from yoloprune.data.names import names_of_data
from yoloprune.data.text_files import read_names
from yoloprune.detection.nms import IOU_THRESHOLD, SCORE_THRESHOLD
from yoloprune.devices import AUTO
from yoloprune.engines.table import DEFAULT_ENGINE
from yoloprune.errors import UsageError
from yoloprune.graph.model import Model
from yoloprune.workflows.detect import detect as detect_in
from yoloprune.workflows.detectors import class_count_of
from yoloprune.workflows.models import holds_network


def detect(
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="NETWORK [NETWORK2] SOURCE...",
            help="CFG WEIGHTS, NET.onnx, or a folder that holds one; perhaps a second network to "
            "compare; then images, folders, .txt lists, 'patterns/*.jpg', videos, a camera's "
            "number, addresses.",
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(metavar="DIR", help="Folder for the annotated pictures and the detections."),
    ],
    threshold: Annotated[
        float, typer.Option(min=0, max=1, help="Show scores above this.")
    ] = SCORE_THRESHOLD,
    nms: Annotated[float, typer.Option(min=0, max=1, help="NMS IoU threshold.")] = IOU_THRESHOLD,
    names: Annotated[
        Path | None,
        typer.Option(help="File of class names.", show_default="those beside network or images"),
    ] = None,
    data: Annotated[Path | None, typer.Option(help="Data set that names the classes.")] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Look at N images and N frames of each video only.")
    ] = None,
    engine: EngineName = DEFAULT_ENGINE,
    device: Device = AUTO,
    preprocess: PreprocessText = None,
    decoder: DecoderName = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Find objects, draw them, and list them in DIR/detections.json and .csv.

    Two networks are drawn side by side, with thick lines around what one of them alone has found.
    """
    models, sources = _networks(words)
    classes = partial(class_count_of, models[0], preprocess=preprocess, decoder=decoder)
    found = detect_in(
        models[0],
        sources,
        out=out,
        against=models[1] if len(models) > 1 else None,
        names=_class_names(names, data, classes),
        threshold=threshold,
        nms=nms,
        limit=limit,
        engine=engine,
        device=device,
        preprocess=preprocess,
        decoder=decoder,
        reporter=ConsoleReporter(quiet=quiet),
    )
    print_result(found.shown(), as_json=as_json, quiet=quiet)


def _networks(words: Sequence[str]) -> tuple[list[Model], list[str]]:
    """The one or two networks that come first, and the sources after them."""
    first, rest = first_model(words)
    models = [first]
    if rest and holds_network(Path(rest[0])):
        second, rest = first_model(rest)
        models.append(second)
    if not rest:
        raise UsageError("nothing to look at: name images, a folder, a video, a camera's number")
    return models, rest


def _class_names(
    names: Path | None, data: Path | None, classes: Callable[[], int]
) -> tuple[str, ...] | None:
    if names is not None and data is not None:
        raise UsageError("class names come from --names or from --data, not from both")
    if names is not None:
        return read_names(names, classes())
    return None if data is None else names_of_data(data, classes())
