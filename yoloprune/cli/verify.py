"""`yoloprune verify`: prove a finished folder again."""

from pathlib import Path
from typing import Annotated

import typer

from yoloprune.cli.console import ConsoleReporter, output
from yoloprune.cli.networks import network_and_folder
from yoloprune.cli.options import DenseAndPruned, Quiet
from yoloprune.data.calibration import proof_images
from yoloprune.export.onnx import check_onnx
from yoloprune.frontends.darknet.document import pair
from yoloprune.pruning.recovery import head_errors
from yoloprune.report.pruning import head_line, proof_lines, recovery_lines
from yoloprune.workflows.cut import read_cut


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
    dense, folder = network_and_folder(words)
    cut = read_cut(folder, dense, images=images, reporter=reporter)
    for line in proof_lines(cut.proof):
        output.print(line)
    spec, state = pair(cut.slim)
    if cut.recovery is not None:
        output.print("after that surgery the weights were recovered, as report.json says:")
        for line in recovery_lines(cut.recovery):
            output.print(line)
        if images is not None:
            batch = proof_images(spec, images)[1:].float()
            states = [pair(cut.exact)[1], state]
            before, after = head_errors(*pair(dense), spec, states, batch)
            output.print(head_line(len(batch), "images given here", before, after))
    if (folder / "slim.onnx").exists():
        with reporter.stage("running slim.onnx"):
            check = check_onnx(spec, state, folder / "slim.onnx")
        output.print(f"slim.onnx = slim.weights: relative error {check.relative_error:.2g}")
    output.print(f"{folder}: verified")
