"""Recovery without training: a cut's weights brought back towards the dense network's."""

from collections.abc import Collection, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from yoloprune.counting import counted
from yoloprune.data.calibration import Calibration, given_calibration, read_calibration
from yoloprune.devices import AUTO, torch_device
from yoloprune.errors import VerificationError
from yoloprune.frontends.torch.document import ModuleDocument
from yoloprune.graph.model import Model
from yoloprune.pruning.groups import analyze
from yoloprune.pruning.recover.errors import output_errors
from yoloprune.pruning.recover.layer import RIDGES
from yoloprune.pruning.recover.memory import memory_needed
from yoloprune.pruning.recover.network import Recovered, Recovery
from yoloprune.pruning.recover.network import recover as recover_graph
from yoloprune.report.table import file_size
from yoloprune.reporter import SILENT, Reporter
from yoloprune.workflows.choices import chosen
from yoloprune.workflows.confidence import confident
from yoloprune.workflows.cut import Cut
from yoloprune.workflows.defaults import PRUNING
from yoloprune.workflows.modules import check_module

SCORED = 64
"""Images, of those learned from, by which scores get their meaning back, at most."""

SHOWN = 16
"""Images on which detections are counted, at most."""


def recover(
    cut: Cut,
    images: Calibration | Tensor | str | Path,
    *,
    method: Recovery | str = Recovery.RECONSTRUCT,
    calibration_images: int = PRUNING.calibration_images,
    seed: int = PRUNING.seed,
    preprocess: str | None = None,
    made_by: str | None = None,
    device: str | torch.device = AUTO,
    reporter: Reporter = SILENT,
) -> Cut:
    """Re-fit the weights that surgery left, in closed form, on images without labels.

    Where a decoder is known, scores are then as high as the dense network's on the same images.
    `images` are network inputs (B, ...), or a folder, list or .data file, of which
    `calibration_images` are chosen by the `seed` and become an ONNX network's inputs by
    `preprocess`, where the file does not show how; all is computed on the `device`. What was
    recovered before does not count: it is done anew. Warns where the images are too few to
    determine a kernel, and of layers of a module whose kernels its code works out of parameters:
    these stay. Raises `DatasetError` if no image can be read, `PlanError` if there is no batch norm
    to recalibrate, `VerificationError` for a module that is not what was re-fitted.
    """
    method = chosen(Recovery, method, "method")
    dependencies, exact = analyze(cut.dense.graph), cut.exact
    if isinstance(images, Tensor):
        images = given_calibration(images)
    elif not isinstance(images, Calibration):
        images = read_calibration(
            cut.dense, Path(images), calibration_images, seed, reporter, preprocess
        )
    images = images.on(torch_device(device))
    count = len(images.images)
    memory = memory_needed(dependencies, exact.graph, count)
    reporter.say(f"recovering with {counted(count, 'image')}: about {file_size(memory)} of memory")
    recovered = recover_graph(
        dependencies,
        cut.dense.parameters,
        cut.plan,
        (exact.graph, exact.parameters),
        images.images,
        target=cut.target,
        recovery=method,
        fixed=_fixed(exact, reporter),
        seed=seed,
        reporter=reporter,
    )
    _warn_of_scarcity(recovered, count, reporter)
    measured_on = images.measured
    parameters, confidence = _on_cpu(recovered.parameters), None
    # Batch norms alone cannot give scores back what they meant.
    if method is Recovery.RECONSTRUCT:
        fitted = replace(cut, slim=replace(exact, parameters=parameters))
        with reporter.stage("giving scores their meaning back"):
            parameters, confidence = confident(
                fitted, images.reads, images.images[:SCORED], measured_on[:SHOWN]
            )
    before, after = output_errors(
        cut.target, exact.graph, [exact.parameters, parameters], measured_on
    )
    entry: Mapping[str, Any] = {
        "method": method.value,
        "made_by": made_by,
        "images": count,
        "files": list(images.learned_from),
        "read_as": "inputs as given" if images.reads is None else str(images.reads),
        "preprocess": None if images.reads is None else images.reads.document(),
        "skipped": images.skipped,
        "memory_bytes": memory,
        "seed": seed,
        "ridges": RIDGES,
        "heads": {
            "images": len(measured_on),
            "unseen": len(images.unseen) > 0,
            "before": before,
            "after": after,
        },
        "confidence": confidence,
        "layers": {node: asdict(fit) for node, fit in recovered.fits.items()},
    }
    slim = replace(exact, parameters=parameters)
    if isinstance(slim.document, ModuleDocument):
        _check_written(slim)
    learned_from = {**cut.learned_from, **images.learned_from}
    return replace(cut, slim=slim, recovery=entry, learned_from=learned_from)


def _on_cpu(parameters: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: array.cpu() for name, array in parameters.items()}


def _warn_of_scarcity(recovered: Recovered, images: int, reporter: Reporter) -> None:
    scarce = {node: fit for node, fit in recovered.fits.items() if fit.scarce}
    if scarce:
        needed = max(fit.images_needed for fit in scarce.values())
        first = ", ".join(list(scarce)[:3])
        reporter.warn(
            f"{counted(images, 'image')}: too few to determine the kernels of {len(scarce)} "
            f"layers ({first}{', ...' if len(scarce) > 3 else ''}): "
            f"{needed} are needed; they stay near what surgery left"
        )


def _fixed(slim: Model, reporter: Reporter) -> Collection[str]:
    """Layers, by their nodes, that a module could not be given re-fitted; warns of them."""
    if not isinstance(slim.document, ModuleDocument):
        return ()
    found = slim.document.worked_out()
    if found:
        paths = list(dict.fromkeys(found.values()))
        first = ", ".join(map(slim.document.titled, paths[:3]))
        reporter.warn(
            f"the code of {first}{', ...' if len(paths) > 3 else ''} works kernels out of "
            "parameters, or reads one in several ways: these stay as surgery left them"
        )
    return found.keys()


def _check_written(slim: Model) -> None:
    """Raise `VerificationError` where a module cannot be given what was re-fitted."""
    try:
        check_module(slim)
    except VerificationError as error:
        raise VerificationError(
            f"{slim.document.title}: it is not what was re-fitted: use the cut as it is, without "
            "recovery"
        ) from error
