"""`yoloprune init`: random weights for a network."""

from pathlib import Path
from typing import Annotated

import typer

from yoloprune.cli.console import ConsoleReporter, print_result
from yoloprune.cli.options import CfgPath, Json, Quiet, Seed
from yoloprune.frontends.darknet.initialization import random_state
from yoloprune.frontends.darknet.parser import read_cfg
from yoloprune.frontends.darknet.weights import write_weights
from yoloprune.report.shown import Shown
from yoloprune.report.table import file_size


def init(
    cfg: CfgPath,
    out: Annotated[Path, typer.Option("--out", help="The .weights file to write.")],
    seed: Seed = 0,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write seeded random weights and batch-norm statistics for a network."""
    spec = read_cfg(cfg)
    with ConsoleReporter(quiet=quiet or as_json).stage("writing random weights"):
        write_weights(out, spec, random_state(spec, seed=seed))
    size = out.stat().st_size
    line = f"{out}: {file_size(size)}, random with seed {seed}"
    document = {"out": str(out), "bytes": size, "seed": seed}
    print_result(
        Shown(title="Random weights", summary=line, lines=[line], document=document),
        as_json=as_json,
        quiet=quiet,
    )
