"""`yoloprune export`: ONNX."""

from pathlib import Path
from typing import Annotated

import typer

from yoloprune.cli.console import ConsoleReporter, output
from yoloprune.cli.networks import only_network
from yoloprune.cli.options import NetworkWords, Quiet
from yoloprune.darknet.parser import read_cfg
from yoloprune.darknet.spec import NetworkSpec, class_count
from yoloprune.darknet.weights import read_weights
from yoloprune.data.text_files import read_names
from yoloprune.export.interface import is_decodable
from yoloprune.export.onnx import export_onnx
from yoloprune.workflows.models import names_beside

Decode = Annotated[
    bool | None,
    typer.Option(
        "--decode/--raw",
        help="The ONNX file gives boxes and scores, or the heads' raw maps.",
        show_default="boxes, if there are heads",
    ),
]


def export(
    words: NetworkWords,
    onnx: Annotated[Path, typer.Option("--onnx", help="The .onnx file to write.")],
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
    quiet: Quiet = False,
) -> None:
    """Write a network as ONNX, and check the file in ONNX Runtime."""
    cfg, weights = only_network(words)
    spec = read_cfg(cfg)
    decoded = decodes(spec, decode)
    class_names = read_names(names, class_count(spec)) if names else names_beside(cfg, spec)
    state = read_weights(weights, spec)
    with ConsoleReporter(quiet=quiet).stage("exporting and checking"):
        check = export_onnx(spec, state, onnx, decoded=decoded, names=class_names, batch=batch)
    shapes = ", ".join(f"{name} {list(shape)}" for name, shape in check.outputs.items())
    output.print(f"{onnx}: images {[batch or 1, *spec.input_shape]} -> {shapes}")
    output.print(f"ONNX Runtime = torch: relative error {check.relative_error:.2g}")


def decodes(spec: NetworkSpec, decode: bool | None) -> bool:
    """Whether an ONNX file is to give boxes; raises `CfgError` if it cannot be."""
    if decode:
        class_count(spec)
    return is_decodable(spec) if decode is None else decode
