"""`yoloprune inspect`: what a network is made of, and what depends on what."""

from pathlib import Path
from typing import Annotated

import typer

from yoloprune.cli.console import print_result
from yoloprune.cli.networks import only_model
from yoloprune.cli.options import Json, Quiet
from yoloprune.workflows.inspect import inspect as inspect_network


def inspect(
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="CFG [WEIGHTS]", help="Darknet .cfg, or pair, or a folder that holds one."
        ),
    ],
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Show layers, cost and channel groups; with weights, also each group's dead channels."""
    cfg_alone = len(words) == 1 and not Path(words[0]).is_dir()
    found = inspect_network(words[0] if cfg_alone else only_model(words))
    if not as_json and not quiet:
        print_result(found.layers(), as_json=False, quiet=False)
    print_result(found.shown(), as_json=as_json, quiet=quiet)
