"""`yoloprune verify`: prove a finished folder again."""

from pathlib import Path
from typing import Annotated

import typer

from yoloprune.cli.console import CfgPath, Quiet, WeightsPath, output, stage
from yoloprune.cli.verification import verification_images
from yoloprune.darknet.parser import read_cfg
from yoloprune.darknet.weights import read_weights
from yoloprune.errors import VerificationError
from yoloprune.export.onnx import check_onnx
from yoloprune.pruning.groups import analyse
from yoloprune.pruning.plan import read_plan
from yoloprune.pruning.pruner import prove
from yoloprune.pruning.slimming import slim_spec


def verify(
    cfg: CfgPath,
    weights: WeightsPath,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder that `prune` wrote.")],
    images: Annotated[
        Path | None,
        typer.Option("--images", help="Verify on these (folder, list, .data) and on noise."),
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Prove again that a pruned folder is exactly what its plan makes of the dense network."""
    spec = read_cfg(cfg)
    state = read_weights(weights, spec)
    graph = analyse(spec)
    plan = read_plan(folder / "plan.json", graph)
    slim = read_cfg(folder / "slim.cfg")
    slim_state = read_weights(folder / "slim.weights", slim)
    if slim.digest() != slim_spec(graph, graph.kept(plan.keep)).digest():
        raise VerificationError(f"{folder / 'slim.cfg'}: not the network that the plan makes")
    with stage("verifying in float64", quiet):
        proof = prove(spec, state, plan, slim, slim_state, verification_images(spec, images))
    output.print(
        f"slim = masked dense: relative error {proof.exactness.relative_error:.2g} in float64\n"
        f"slim against dense: heads differ by {proof.change.relative_error:.2g} relative",
    )
    if (folder / "slim.onnx").exists():
        with stage("running slim.onnx", quiet):
            check = check_onnx(slim, slim_state, folder / "slim.onnx")
        output.print(f"slim.onnx = slim.weights: relative error {check.relative_error:.2g}")
    output.print(f"{folder}: verified")
