"""`yoloprune reconstruct`: recover a pruned folder without training."""

from pathlib import Path
from typing import Annotated

import typer

from yoloprune.cli.console import ConsoleReporter, print_result
from yoloprune.cli.engine_options import Device, PreprocessText
from yoloprune.cli.networks import command_line, network_and_folder
from yoloprune.cli.options import CalibrationImages, DenseAndPruned, Json, Quiet, Seed
from yoloprune.data.read import dataset_images
from yoloprune.devices import AUTO
from yoloprune.errors import UsageError
from yoloprune.exporters.onnx import read_form
from yoloprune.pruning.recover.network import Recovery
from yoloprune.workflows.defaults import PRUNING
from yoloprune.workflows.distill import check_length, distill, fitted_on
from yoloprune.workflows.pruned_folder import read_cut
from yoloprune.workflows.recover import recover

CHECKPOINT = "distill.pt"
"""In the pruned folder, while distillation is not done."""


def reconstruct(
    words: DenseAndPruned,
    images: Annotated[
        Path, typer.Option("--images", help="Folder, list or .data; labels are not used.")
    ],
    calibration_images: CalibrationImages = None,
    recalibrate: Annotated[
        bool, typer.Option("--recalibrate", help="Adapt batch norms only, which is cheaper.")
    ] = False,
    distill_minutes: Annotated[
        float | None,
        typer.Option(
            "--distill",
            metavar="MINUTES",
            min=0.01,
            help="Then train for so long to give what the dense network gives, on all images.",
        ),
    ] = None,
    distill_steps: Annotated[
        int | None, typer.Option("--distill-steps", min=1, help="The same for so many steps.")
    ] = None,
    seed: Seed = PRUNING.seed,
    device: Device = AUTO,
    preprocess: PreprocessText = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Re-fit a pruned network's kernels to the dense network, in closed form, without labels."""
    reporter = ConsoleReporter(quiet=quiet or as_json)
    dense, folder = network_and_folder(words)
    onnx = folder / "slim.onnx"
    # Of a Darknet network it is a copy.
    form = read_form(onnx) if onnx.exists() and onnx.suffix != dense.document.suffix else None
    count = calibration_images or PRUNING.calibration_images
    distills = distill_minutes is not None or distill_steps is not None
    if distill_minutes is not None and distill_steps is not None:
        raise UsageError("give --distill or --distill-steps, not both")
    if distills:
        check_length(distill_minutes, distill_steps)
        count = fitted_on(len(dataset_images(images)), count)
    pruned = read_cut(folder, dense, device=device, reporter=reporter)
    if pruned.recovery is not None:
        reporter.say(f"{folder} was recovered before: what surgery left is recovered anew")
    cut = recover(
        pruned,
        images,
        method=Recovery.RECALIBRATE if recalibrate else Recovery.RECONSTRUCT,
        calibration_images=count,
        seed=seed,
        preprocess=preprocess,
        made_by=command_line(),
        device=device,
        reporter=reporter,
    )
    if distills:
        checkpoint = folder / CHECKPOINT
        cut = distill(
            cut,
            images,
            minutes=distill_minutes,
            steps=distill_steps,
            seed=seed,
            preprocess=preprocess,
            device=device,
            checkpoint=checkpoint,
            reporter=reporter,
        )
        checkpoint.unlink(missing_ok=True)
    names = cut.save(folder, onnx=form, reporter=reporter)
    more = [f"wrote {folder}/: {', '.join(names)}"]
    print_result(cut.shown(), more, as_json=as_json, quiet=quiet)
