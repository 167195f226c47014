"""A pruned network beside the dense one as a page: cost, accuracy, what was cut, detections."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from yoloprune.counting import counted
from yoloprune.data.dataset import Dataset
from yoloprune.data.read import dataset_images, read_dataset
from yoloprune.data.text_files import default_names
from yoloprune.devices import AUTO
from yoloprune.errors import PlanError, UsageError
from yoloprune.evaluation.detector import Detector
from yoloprune.evaluation.evaluator import evaluate
from yoloprune.files import write_text
from yoloprune.pruning.choices import Scope
from yoloprune.pruning.groups import analyze
from yoloprune.pruning.prune import rankable_scores
from yoloprune.report.html import report_html
from yoloprune.report.study import (
    ORIGINAL,
    PRUNED,
    Accuracy,
    Check,
    Command,
    DatasetSummary,
    ExportedFiles,
    Measurement,
    Selection,
    Study,
)
from yoloprune.reporter import SILENT, Reporter
from yoloprune.training.run_folder import environment
from yoloprune.workflows.cut import PAGE, Cut, times
from yoloprune.workflows.detectors import detector, tell_if_dead
from yoloprune.workflows.examples import Chosen, compared, example, spread
from yoloprune.workflows.models import AnyModel
from yoloprune.workflows.pruned_folder import read_cut
from yoloprune.workflows.training_data import tell_remarks

_PROTOCOL = "coco"


def write_page(
    dense: AnyModel,
    folder: str | Path,
    *,
    data: str | Path | None = None,
    images: str | Path | None = None,
    split: str | None = None,
    limit: int | None = None,
    preprocess: str | None = None,
    decoder: str | None = None,
    device: str = AUTO,
    reporter: Reporter = SILENT,
) -> Study:
    """Write what a folder of `prune` holds as a page, report.html, into it; gives what is shown.

    The folder is proven again. Both networks are evaluated by `coco` on the `data`, of which
    `split` and `limit` are those of `evaluate`, and detections of both are shown side by side on a
    few of its images, or of `images` without labels. `preprocess` and `decoder` are those of
    `detector`. Raises what `read_cut` raises and, where there is anything to detect in, what
    `detector` and `read_dataset` raise.
    """
    if data is not None and images is not None:
        raise UsageError("give `data` or `images`, not both: pictures are of the first")
    folder = Path(folder)
    cut = read_cut(folder, dense, device=device, preprocess=preprocess, reporter=reporter)
    networks = {ORIGINAL: cut.before, PRUNED: cut.slim}
    detectors: list[Detector] = []
    labeled: Dataset | None = None
    paths: Sequence[Path] = ()
    if data is not None or images is not None:
        detectors = [
            detector(each, device=device, preprocess=preprocess, decoder=decoder)
            for each in networks.values()
        ]
    if data is not None:
        labeled = read_dataset(Path(data), classes=detectors[0].classes, split=split, limit=limit)
        tell_remarks(Path(data), labeled, reporter)
        paths = [image.path for image in labeled.images]
    elif images is not None:
        paths = dataset_images(Path(images))
    if paths:
        tell_if_dead(detectors[0], paths, reporter)
    accuracy: dict[str, dict[str, Accuracy]] = {}
    if labeled is not None:
        for name, judged in zip(networks, detectors, strict=True):
            found = evaluate(judged, labeled, _PROTOCOL, detailed=True, reporter=reporter)
            accuracy[name] = {
                _PROTOCOL: Accuracy(
                    map50=found.map50, map50_95=found.map50_95, details=found.details
                )
            }
    chosen = Chosen()
    if labeled is not None:
        before, after = (accuracy[name][_PROTOCOL].details for name in networks)
        assert before is not None and after is not None
        chosen = compared(
            labeled.images, before, after, lambda picture: example(picture, *detectors)
        )
    elif paths:
        chosen = spread(paths, lambda path: example(path, *detectors))
    study = Study(
        title=f"Pruning of {cut.dense.document.title}",
        dataset=_data(cut, detectors, labeled, data or images, len(paths)),
        measurements=[
            Measurement(
                name=name,
                params=network.cost.params,
                macs=network.cost.macs,
                weight_bytes=network.cost.weight_bytes,
                accuracy=accuracy.get(name, {}),
                note=_note(cut) if name == PRUNED else "",
            )
            for name, network in networks.items()
        ],
        dense=cut.dense,
        slim=cut.slim,
        selection=_selection(cut),
        distillation=_curve(cut),
        pair=chosen.pair,
        examples=chosen.examples,
        chosen=chosen.chosen,
        checks=[_check(cut)],
        commands=_commands(cut),
        settings=cut.settings,
        environment=environment(),
        exported=_files(cut, folder, detectors, preprocess, decoder),
    )
    write_text(folder / PAGE, report_html(study))
    return study


def _data(
    cut: Cut,
    detectors: Sequence[Detector],
    labeled: Dataset | None,
    source: str | Path | None,
    images: int,
) -> DatasetSummary | None:
    if source is None:
        return None
    names = cut.dense.document.names or default_names(detectors[0].classes)
    if labeled is None:
        return DatasetSummary(
            name=Path(source).name, images={"unlabeled": images}, objects={}, classes=names
        )
    return DatasetSummary(
        name=Path(source).name,
        images={labeled.split or "labeled": len(labeled.images)},
        objects={labeled.split or "labeled": labeled.object_count},
        classes=labeled.names,
    )


def _curve(cut: Cut) -> Sequence[tuple[int, float]]:
    """What was left of the distance to the dense network while it was distilled, if it was."""
    distilled = (cut.recovery or {}).get("distillation")
    return [] if distilled is None else [(step, left) for step, left in distilled["curve"]]


def _note(cut: Cut) -> str:
    """How its weights were recovered, if they were, and its time beside the dense network's."""
    found = times(cut)
    if cut.recovery is not None:
        images = counted(cut.recovery["images"], "image")
        method = cut.recovery["method"]
        found.insert(0, f"after the cut, its weights were recovered ({method}) with {images}")
    return f"{'; '.join(found)}." if found else ""


def _selection(cut: Cut) -> Selection:
    """The plan and, where they do not need images, the scores that it was made from."""
    scope = Scope(cut.settings.get("scope", Scope.GLOBAL))
    scores: Mapping[int, NDArray[np.float64]] = {}
    # Criteria that look at images cannot be asked again: these may be gone.
    with suppress(PlanError):
        scores = rankable_scores(
            analyze(cut.dense.graph),
            cut.dense.parameters,
            cut.plan.criterion,
            scope,
            seed=cut.settings.get("seed", 0),
        )
    return Selection(plan=cut.plan, scores=scores)


def _check(cut: Cut) -> Check:
    found = cut.proof.exactness
    return Check(
        statement="The pruned network equals the dense one with the removed channels silenced"
        + ("" if cut.recovery is None else ", before its recovery"),
        relative_error=found.relative_error,
        allowed=found.tolerance,
        basis=f"float64, {found.compared}, of each channel's largest value",
    )


def _commands(cut: Cut) -> list[Command]:
    found = [] if cut.made_by is None else [Command(stage="prune", line=cut.made_by)]
    again = None if cut.recovery is None else cut.recovery.get("made_by")
    if again is not None and again != cut.made_by:
        found.append(Command(stage="recover", line=again))
    return found


def _files(
    cut: Cut,
    folder: Path,
    detectors: Sequence[Detector],
    preprocess: str | None,
    decoder: str | None,
) -> ExportedFiles:
    names = folder / "slim.names"
    if cut.slim.document.suffix == ".cfg":
        return ExportedFiles(
            cfg=str(folder / "slim.cfg"),
            weights=str(folder / "slim.weights"),
            names=str(names) if names.exists() else None,
        )
    given = {"preprocess": preprocess, "decoder": decoder}
    return ExportedFiles(
        onnx=str(folder / "slim.onnx"),
        interface=[
            "It reads and gives what the dense file does, under the same names.",
            *(f"Images go in as {each.reads}; decoder {each.decoder}." for each in detectors[:1]),
        ],
        settings={name: value for name, value in given.items() if value is not None},
    )
