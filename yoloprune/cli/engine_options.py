"""Options that say what computes, where, and of what: apart, for torch takes long to load."""

from typing import Annotated

import typer

from yoloprune.data.preprocess import PRESETS
from yoloprune.detection.decoders.table import DECODERS
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
Threads = Annotated[
    int | None, typer.Option("--threads", min=1, help="CPU threads (torch's own default).")
]
PreprocessText = Annotated[
    str | None,
    typer.Option(
        "--preprocess",
        metavar="PRESET[,KEY=VALUE...]",
        help=f"How images become an ONNX network's input: {', '.join(PRESETS)}; and what differs, "
        "such as fill=0,order=bgr.",
        show_default="as the file says, or else as its family does",
    ),
]
DecoderName = Annotated[
    str | None,
    typer.Option(
        "--decoder",
        metavar="NAME",
        help=f"What makes boxes of an ONNX network's outputs: {', '.join(DECODERS)}.",
        show_default="recognized by the outputs",
        autocompletion=lambda: list(DECODERS),
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
