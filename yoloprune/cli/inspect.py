"""`yoloprune inspect`: what a network is made of, and what depends on what."""

from pathlib import Path
from typing import Annotated

import typer

from yoloprune.cli.console import print_result
from yoloprune.cli.networks import only_model
from yoloprune.cli.options import Json, Quiet
from yoloprune.counting import counted
from yoloprune.workflows.inspect import inspect as inspect_network
from yoloprune.workflows.timing import list_layers


def inspect(
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="NETWORK",
            help="CFG, or CFG WEIGHTS, or NET.onnx, or a folder that holds a network.",
        ),
    ],
    layers: Annotated[
        Path | None,
        typer.Option(
            "--layers",
            metavar="DIR",
            help="Write the layers as models into DIR, for examples/time_layers.py to time.",
        ),
    ] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Show layers, cost and channel groups: what may go, and why the rest is frozen.

    Of networks with batch norms, also each group's dead channels, unless it is a .cfg alone.
    """
    found = inspect_network(words[0] if len(words) == 1 else only_model(words))
    if not as_json and not quiet:
        print_result(found.layers(), as_json=False, quiet=False)
    more = []
    if layers is not None:
        listed = list_layers(found.network, layers)
        more.append(f"wrote {layers}/: {counted(len(listed), 'layer')} to time")
    print_result(found.shown(), more, as_json=as_json, quiet=quiet)
