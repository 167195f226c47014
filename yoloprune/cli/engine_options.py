"""Options of the commands that compute: in which engine, and where."""

from typing import Annotated

import typer

from yoloprune.devices import DEVICES
from yoloprune.engines.table import ENGINES

EngineName = Annotated[
    str,
    typer.Option(
        "--engine",
        metavar="NAME",
        help=f"What computes: {', '.join(ENGINES)}.",
        autocompletion=lambda: list(ENGINES),
    ),
]
Device = Annotated[
    str,
    typer.Option(
        "--device",
        metavar="|".join(DEVICES),
        help="Where to compute; auto: on a GPU if there is one.",
        autocompletion=lambda: list(DEVICES),
    ),
]
