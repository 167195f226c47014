"""`yoloprune verify`: prove a finished folder again."""

from pathlib import Path
from typing import Annotated

import typer

from yoloprune.cli.console import ConsoleReporter, Quiet, output
from yoloprune.cli.networks import DenseAndPruned, network_and_folder
from yoloprune.cli.slim_folder import read_slim_folder
from yoloprune.cli.verification import verification_images
from yoloprune.darknet.parser import read_cfg
from yoloprune.darknet.weights import read_weights
from yoloprune.export.onnx import check_onnx
from yoloprune.pruning.pruner import prove
from yoloprune.pruning.recovery import head_errors
from yoloprune.report.pruning import head_line, recovery_lines


def verify(
    words: DenseAndPruned,
    images: Annotated[
        Path | None,
        typer.Option("--images", help="Verify on these (folder, list, .data) and on noise."),
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Prove again that a pruned folder is exactly what its plan makes of the dense network."""
    reporter = ConsoleReporter(quiet=quiet)
    (cfg, weights), folder = network_and_folder(words)
    spec = read_cfg(cfg)
    state = read_weights(weights, spec)
    slim = read_slim_folder(spec, state, weights, folder)
    batch = verification_images(spec, images)
    with reporter.stage("verifying in float64"):
        proof = prove(spec, state, slim.plan, slim.spec, slim.cut, batch)
    output.print(
        f"slim = masked dense: relative error {proof.exactness.relative_error:.2g} in float64"
    )
    output.print(f"slim against dense: heads differ by {proof.change.relative_error:.2g} relative")
    if slim.recovery is not None:
        output.print("after that surgery the weights were recovered, as report.json says:")
        for line in recovery_lines(slim.recovery):
            output.print(line)
        if len(batch) > 1:
            before, after = head_errors(
                spec, state, slim.spec, [slim.cut, slim.state], batch[1:].float()
            )
            output.print(head_line(len(batch) - 1, "images given here", before, after))
    if (folder / "slim.onnx").exists():
        with reporter.stage("running slim.onnx"):
            check = check_onnx(slim.spec, slim.state, folder / "slim.onnx")
        output.print(f"slim.onnx = slim.weights: relative error {check.relative_error:.2g}")
    output.print(f"{folder}: verified")
