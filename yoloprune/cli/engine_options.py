"""Options that say what computes, and where: apart from others, for torch takes long to load."""

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
EngineNames = Annotated[
    list[str] | None,
    typer.Option(
        "--engine",
        metavar="NAME",
        help=f"Time this one, may be repeated: {', '.join(ENGINES)}.",
        show_default="the usual ones that are installed",
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
