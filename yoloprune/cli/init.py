"""`yoloprune init`: random weights for a network."""

from pathlib import Path
from typing import Annotated

import typer

from yoloprune.cli.console import ConsoleReporter, output
from yoloprune.cli.options import CfgPath, Quiet
from yoloprune.darknet.parser import read_cfg
from yoloprune.darknet.weights import write_weights
from yoloprune.model.initialization import random_state
from yoloprune.report.table import file_size


def init(
    cfg: CfgPath,
    out: Annotated[Path, typer.Option("--out", help="The .weights file to write.")],
    seed: Annotated[int, typer.Option("--seed", min=0, max=2**63 - 1, help="Random seed.")] = 0,
    quiet: Quiet = False,
) -> None:
    """Write seeded random weights and batch-norm statistics for a network."""
    spec = read_cfg(cfg)
    with ConsoleReporter(quiet=quiet).stage("writing random weights"):
        write_weights(out, spec, random_state(spec, seed=seed))
    output.print(f"{out}: {file_size(out.stat().st_size)}, random with seed {seed}")
