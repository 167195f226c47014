"""`yoloprune export`: a network in another format."""

from pathlib import Path
from typing import Annotated

import typer

from yoloprune.cli.console import ConsoleReporter, print_result
from yoloprune.cli.networks import only_model
from yoloprune.cli.options import AnyNetwork, Json, Quiet
from yoloprune.data.text_files import read_names
from yoloprune.exporters.table import FORMATS
from yoloprune.workflows.detectors import class_count_of
from yoloprune.workflows.export import export as export_to

Decode = Annotated[
    bool | None,
    typer.Option(
        "--decode/--raw",
        help="The ONNX file gives boxes and scores, or the heads' raw maps.",
        show_default="boxes, if there are heads",
    ),
]
_SUFFIXES = ", ".join(f"{row.suffix} ({row.name})" for row in FORMATS.values())


def export(
    words: AnyNetwork,
    out: Annotated[
        Path,
        typer.Option(
            "--out", "--onnx", metavar="FILE", help=f"To write; its suffix says what: {_SUFFIXES}."
        ),
    ],
    decode: Decode = None,
    names: Annotated[
        Path | None,
        typer.Option(
            "--names", help="File of class names to put in.", show_default="that beside the cfg"
        ),
    ] = None,
    batch: Annotated[
        int | None,
        typer.Option("--batch", min=1, help="Number of images at once.", show_default="any"),
    ] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write a network as ONNX, and check the file in ONNX Runtime."""
    model = only_model(words)
    found = export_to(
        model,
        out,
        decode=decode,
        names=read_names(names, class_count_of(model)) if names else None,
        batch=batch,
        reporter=ConsoleReporter(quiet=quiet or as_json),
    )
    print_result(found.shown(), as_json=as_json, quiet=quiet)
