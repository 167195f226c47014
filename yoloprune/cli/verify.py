"""`yoloprune verify`: prove a finished folder again."""

from pathlib import Path
from typing import Annotated

import typer

from yoloprune.cli.console import ConsoleReporter, print_result
from yoloprune.cli.engine_options import Device, EngineName, PreprocessText
from yoloprune.cli.networks import dense_and_slim
from yoloprune.cli.options import DenseAndPruned, Json, Quiet
from yoloprune.devices import AUTO
from yoloprune.engines.table import DEFAULT_ENGINE
from yoloprune.workflows.verify import verify as verify_networks


def verify(
    words: DenseAndPruned,
    images: Annotated[
        Path | None,
        typer.Option("--images", help="Also verify on these images (folder, list or .data)."),
    ] = None,
    engine: EngineName = DEFAULT_ENGINE,
    device: Device = AUTO,
    preprocess: PreprocessText = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Prove again that a pruned folder is exactly what its plan makes of the dense network.

    Of another slim network than such a folder, the kept channels are found first.
    """
    found = verify_networks(
        *dense_and_slim(words),
        images=images,
        engine=engine,
        device=device,
        preprocess=preprocess,
        reporter=ConsoleReporter(quiet=quiet or as_json),
    )
    print_result(found.shown(), as_json=as_json, quiet=quiet)
