"""`yoloprune quantize`: a network in int8."""

from pathlib import Path
from typing import Annotated

import typer

from yoloprune.cli.console import ConsoleReporter, print_result
from yoloprune.cli.engine_options import DecoderName, PreprocessText
from yoloprune.cli.networks import only_model
from yoloprune.cli.options import AnyNetwork, Json, Quiet, Seed
from yoloprune.workflows.defaults import QUANTIZATION
from yoloprune.workflows.quantize import quantize as quantize_network


def quantize(
    words: AnyNetwork,
    images: Annotated[
        Path, typer.Option("--images", help="Folder, list or .data; labels are not used.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="The .onnx to write.")],
    data: Annotated[
        Path | None,
        typer.Option(
            "--data",
            help="Labeled images to judge by: folder, data.yaml, .data or COCO .json.",
            show_default="what the float network finds in further --images",
        ),
    ] = None,
    split: Annotated[
        str | None,
        typer.Option("--split", help="Split of --data.", show_default="test or val, as found"),
    ] = None,
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, help="Judge by the first N images of --data.")
    ] = None,
    max_loss: Annotated[
        float, typer.Option("--max-loss", help="How much of mAP@0.5 (coco) int8 may lose.")
    ] = QUANTIZATION.max_loss,
    calibration_images: Annotated[
        int, typer.Option("--calibration-images", min=1, help="How many images to learn from.")
    ] = QUANTIZATION.calibration_images,
    threads: Annotated[
        int, typer.Option("--threads", min=1, help="CPU threads to time with.")
    ] = QUANTIZATION.threads,
    seed: Seed = QUANTIZATION.seed,
    preprocess: PreprocessText = None,
    decoder: DecoderName = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write a network in int8 for ONNX Runtime, as fast as a limit on its loss allows."""
    found = quantize_network(
        only_model(words),
        images,
        out,
        data=data,
        split=split,
        limit=limit,
        max_loss=max_loss,
        calibration_images=calibration_images,
        threads=threads,
        seed=seed,
        preprocess=preprocess,
        decoder=decoder,
        reporter=ConsoleReporter(quiet=quiet or as_json),
    )
    print_result(found.shown(), as_json=as_json, quiet=quiet)
