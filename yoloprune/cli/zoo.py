"""`yoloprune zoo`: write the cfg of a built-in network."""

from pathlib import Path
from typing import Annotated

import typer

from yoloprune.cli.console import print_result
from yoloprune.cli.options import Json, Quiet
from yoloprune.errors import UsageError
from yoloprune.frontends.darknet.cost import cost
from yoloprune.frontends.darknet.parser import write_cfg
from yoloprune.frontends.darknet.zoo import NETWORKS
from yoloprune.report.shown import Shown
from yoloprune.report.table import amount


def zoo(
    name: Annotated[str, typer.Argument(metavar="NAME", help="yolov3, yolov3-spp or yolov3-tiny.")],
    out: Annotated[Path, typer.Option("--out", help="The .cfg file to write.")],
    classes: Annotated[int, typer.Option("--classes", help="Number of classes.")] = 80,
    width: Annotated[float, typer.Option("--width", help="Multiplies all filter counts.")] = 1.0,
    size: Annotated[int, typer.Option("--size", help="Input height and width, pixels.")] = 416,
    anchors: Annotated[
        str | None, typer.Option("--anchors", help="'w,h, w,h, ...' in input pixels.")
    ] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write the cfg of a built-in network."""
    if name not in NETWORKS:
        raise UsageError(f"network {name!r} is unknown (known: {', '.join(NETWORKS)})")
    if size % 32 or not 32 <= size <= 4096:
        raise UsageError(f"--size {size} must be a multiple of 32 from 32 to 4096")
    pairs = {} if anchors is None else {"anchors": _pairs(anchors)}
    spec = NETWORKS[name](classes=classes, width=width, size=(size, size), **pairs)
    write_cfg(out, spec)
    total = cost(spec)
    line = f"{out}: {amount(total.params)} params, {amount(total.macs)} MACs"
    document = {"out": str(out), "params": total.params, "macs": total.macs}
    print_result(
        Shown(title=name, summary=line, lines=[line], document=document),
        as_json=as_json,
        quiet=quiet,
    )


def _pairs(text: str) -> tuple[tuple[float, float], ...]:
    try:
        numbers = [float(item) for item in text.split(",")]
    except ValueError:
        raise UsageError(f"--anchors {text!r}: expected numbers 'w,h, w,h, ...'") from None
    if len(numbers) % 2 or not all(0 < n < 1e5 for n in numbers):
        raise UsageError(f"--anchors {text!r}: expected pairs of positive numbers")
    return tuple(zip(numbers[::2], numbers[1::2], strict=True))
