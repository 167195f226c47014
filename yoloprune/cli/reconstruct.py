"""`yoloprune reconstruct`: recover a pruned folder without training."""

import json
from pathlib import Path
from typing import Annotated

import typer

from yoloprune.cli.calibration import (
    CalibrationImages,
    images_to_use,
    read_calibration,
    run_recovery,
)
from yoloprune.cli.console import ConsoleReporter, Quiet, output
from yoloprune.cli.networks import DenseAndPruned, network_and_folder
from yoloprune.cli.slim_folder import (
    command_line,
    read_slim_folder,
    recovery_digests,
    write_slim,
)
from yoloprune.cli.verification import verification_images
from yoloprune.darknet.parser import read_cfg
from yoloprune.darknet.weights import read_weights
from yoloprune.export.onnx import read_form
from yoloprune.files import read_file, write_folder, write_text
from yoloprune.pruning.pruner import prove
from yoloprune.pruning.reconstruction import Recovery
from yoloprune.report.pruning import RECOVERY_TITLE, recovery_lines, recovery_markdown

MOST_REPORT = 16 << 20
"""Bytes of a report.md."""


def reconstruct(
    words: DenseAndPruned,
    images: Annotated[
        Path, typer.Option("--images", help="Folder, list or .data; labels are not used.")
    ],
    calibration_images: CalibrationImages = None,
    recalibrate: Annotated[
        bool, typer.Option("--recalibrate", help="Adapt batch norms only, which is cheaper.")
    ] = False,
    seed: Annotated[
        int, typer.Option("--seed", min=0, max=2**63 - 1, help="Seed of the choice of images.")
    ] = 0,
    quiet: Quiet = False,
) -> None:
    """Re-fit a pruned network's kernels to the dense network, in closed form, without labels."""
    reporter = ConsoleReporter(quiet=quiet)
    (cfg, weights), folder = network_and_folder(words)
    spec = read_cfg(cfg)
    state = read_weights(weights, spec)
    slim = read_slim_folder(spec, state, weights, folder)
    onnx = folder / "slim.onnx"
    form = read_form(onnx) if onnx.exists() else None
    report = folder / "report.md"
    text = read_file(report, MOST_REPORT).decode(errors="replace") if report.exists() else ""
    text = text.split(RECOVERY_TITLE)[0]
    count = images_to_use(calibration_images, reporter, used=True)
    calibration = read_calibration(spec, images, count, seed, reporter)
    with reporter.stage("verifying the surgery in float64"):
        noise = verification_images(spec, None)
        proof = prove(spec, state, slim.plan, slim.spec, slim.cut, noise)
    recovered, recovery = run_recovery(
        spec,
        state,
        slim.plan,
        slim.spec,
        slim.cut,
        calibration,
        recovery=Recovery.RECALIBRATE if recalibrate else Recovery.RECONSTRUCT,
        seed=seed,
        reporter=reporter,
    )
    with write_folder(folder) as temporary:
        write_slim(temporary, slim.spec, recovered, onnx=form, reporter=reporter)
        recovery |= recovery_digests(temporary, weights)
        document = slim.report | {"recovery": recovery}
        write_text(temporary / "report.json", json.dumps(document, indent=1) + "\n")
        write_text(
            temporary / "report.md",
            text + recovery_markdown(recovery, command_line()),
        )
        names = sorted(path.name for path in temporary.iterdir())
    output.print(f"slim = masked dense before: relative error {proof.exactness.relative_error:.2g}")
    for line in recovery_lines(recovery):
        output.print(line)
    output.print(f"wrote {folder}/: {', '.join(names)}")
