"""`yoloprune export`: ONNX."""

from pathlib import Path
from typing import Annotated

import typer

from yoloprune.cli.console import Quiet, output, stage
from yoloprune.cli.networks import NetworkWords, only_network
from yoloprune.darknet.parser import read_cfg
from yoloprune.darknet.weights import read_weights
from yoloprune.export.onnx import export_onnx


def export(
    words: NetworkWords,
    onnx: Annotated[Path, typer.Option("--onnx", help="The .onnx file to write.")],
    decode: Annotated[
        bool, typer.Option("--decode", help="Boxes and scores instead of raw head maps.")
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Write a network as ONNX, and check the file in ONNX Runtime."""
    cfg, weights = only_network(words)
    spec = read_cfg(cfg)
    state = read_weights(weights, spec)
    with stage("exporting and checking", quiet):
        check = export_onnx(spec, state, onnx, decoded=decode)
    shapes = ", ".join(f"{name} {list(shape)}" for name, shape in check.outputs.items())
    output.print(
        f"{onnx}: images {[1, *spec.input_shape]} -> {shapes}\n"
        f"ONNX Runtime = torch: relative error {check.relative_error:.2g}",
    )
