"""From the folders of a run to the study that its report shows."""

from collections.abc import Mapping, Sequence, Set
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from yoloprune.counting import counted
from yoloprune.documents import read_document
from yoloprune.errors import DatasetError, PlanError, RunError
from yoloprune.exporters.interface import OnnxForm, interface, interface_lines
from yoloprune.frontends.darknet.cost import cost
from yoloprune.frontends.darknet.parser import read_cfg
from yoloprune.graph.model import Model
from yoloprune.pruning.groups import DependencyGraph, analyze
from yoloprune.pruning.plan import PruningPlan, compose, read_plan
from yoloprune.report.study import (
    DISTILLED,
    FINE_TUNED,
    ORIGINAL,
    PRUNED,
    REFITTED,
    Check,
    DatasetSummary,
    ExportedFiles,
    Measurement,
    Selection,
    Study,
    TrainingLog,
)
from yoloprune.training.run_folder import LOG, read_log
from yoloprune.workflows.case_study.chain import outcome_chain, random_chain
from yoloprune.workflows.case_study.commands import commands
from yoloprune.workflows.case_study.data import read_study_data, read_summary
from yoloprune.workflows.case_study.measurements import (
    EVALUATED,
    LATENCIES,
    Latencies,
    evaluation_file,
    read_accuracy,
    read_latencies,
)
from yoloprune.workflows.case_study.networks import INT8, SCORES
from yoloprune.workflows.case_study.pipeline import CONTROL_ROWS, rows
from yoloprune.workflows.case_study.settings import StudySettings
from yoloprune.workflows.case_study.subject import SUBJECT, Subject, read_subject
from yoloprune.workflows.detectors import detector
from yoloprune.workflows.examples import Chosen, compared, example
from yoloprune.workflows.models import load
from yoloprune.workflows.stages import finished_stages, read_manifest

SPARSE, STEPS = "Sparsity training", "Between cuts"

ORIGINAL_CFG = Path("dense", "best.cfg")
"""In a run: what the int8 network computes."""

MEASURING = frozenset({EVALUATED, "benchmark", "exported"})
"""Stages that measure what the others made."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Distillation:
    curve: tuple[tuple[int, float], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Recovery:
    images: int
    distillation: _Distillation | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Refitted:
    """What is read of the report.json that the re-fit wrote, or distillation."""

    recovery: _Recovery


def read_study(run: Path) -> Study:
    """Everything that the finished stages of a run say.

    Raises `RunError` if it is no run, or a file is no longer what a stage made.
    """
    subject = read_subject(run)
    if subject is None:
        raise RunError(f"{run}: not the folder of a case study: it has no {SUBJECT}")
    data = read_manifest(run / "data")
    if data is None:
        raise RunError(f"{run}: nothing to report yet: the data stage is not finished")
    settings = subject.settings
    finished = finished_stages(run, _stages(settings), MEASURING)
    dense = _network(run / "dense", "best", finished)
    slim = _network(run / "pruned", "slim", finished)
    timed = read_latencies(run / LATENCIES) if "benchmark" in finished else None
    measurements = _measurements(run, subject, finished, timed)
    chosen = _chosen(run, measurements)
    return Study(
        title=f"Case study: {subject.preset}",
        dataset=_dataset(run, subject.data),
        measurements=measurements,
        dense=dense,
        slim=slim,
        selection=_selection(run, settings) if slim is not None else None,
        training=_logs(run, settings, finished),
        distillation=_curve(run) if "distilled" in finished else (),
        pair=chosen.pair,
        examples=chosen.examples,
        chosen=chosen.chosen,
        checks=_checks(run) if "exported" in finished else [],
        commands=commands(run, subject),
        settings=_settings(subject),
        # Latencies depend on it most.
        environment=(read_manifest(run / "benchmark") or data).environment,
        threads=None if timed is None else timed.threads,
        exported=_exported(run, settings) if "exported" in finished else None,
    )


def _stages(settings: StudySettings) -> set[str]:
    """Names of the stages that make what is measured."""
    made = {stage for stage, _ in rows(settings).values()}
    if settings.sparsity:
        made.add("sparse")
    return {"data", "pruned", *outcome_chain(settings).intermediate, *made}


def _settings(subject: Subject) -> dict[str, Any]:
    """The settings that had an effect."""
    unused = set()
    if subject.dense is not None:
        unused |= {"width"}
    if not subject.counts_epochs:
        unused |= {"epochs", "learning_rate"}
    if not subject.settings.sparsity:
        unused |= {"sparsity", "sparsity_epochs"}
    if not subject.settings.step:
        unused |= {"step", "step_epochs"}
    return {name: value for name, value in asdict(subject.settings).items() if name not in unused}


def _fitted_on(run: Path, settings: StudySettings) -> int:
    """How many images the re-fit looked at: there may be fewer than were asked for."""
    path = run / "refitted" / "report.json"
    if not path.exists():
        return settings.calibration_images
    return read_document(path, _Refitted, fault=RunError).recovery.images


def _curve(run: Path) -> tuple[tuple[int, float], ...]:
    report = read_document(run / "distilled" / "report.json", _Refitted, fault=RunError)
    return () if report.recovery.distillation is None else report.recovery.distillation.curve


def _notes(subject: Subject, fitted: int) -> dict[str, str]:
    """What each row is; epochs, teacher and start differ, and comparing them must allow for it.

    The re-fit looked at so many images as were `fitted`.
    """
    settings = subject.settings
    own = counted(settings.epochs, "epoch")
    original = f"{own} from random weights, without a teacher."
    whole = settings.control_training().epochs
    alone = f"{counted(whole, 'epoch')} from random weights, without a teacher"
    if subject.fit_heads:
        original = f"{own} from weights that were given, with heads for the data."
    elif subject.dense is not None:
        original = "given, trained elsewhere."
    elif subject.backbone is not None:
        original = f"{own} from the first layers' weights that were given."
    elif subject.transfer is not None:
        original = f"{own} from the weights of another network, where the two agree."
    more = counted(settings.later_epochs, "epoch")
    tuned = f"{counted(settings.finetune_epochs, 'epoch')} with the original as teacher"
    alike = "re-fitted alike, " if settings.refit else ""
    alike = "re-fitted and distilled alike, " if settings.distill_steps else alike
    recovered = "re-fitted" if settings.refit else "pruned"
    recovered = "distilled" if settings.distill_steps else recovered
    chain = outcome_chain(settings)
    origin = "the original" if chain.source == "dense" else "the network that was cut last"
    alike = f"in as many cuts, {alike}" if chain.steps else alike
    return {
        ORIGINAL: original,
        PRUNED: f"by {settings.criterion}{_in_steps(settings)}.",
        REFITTED: (
            f"the pruned network, its kernels re-fitted to {origin} in closed form by "
            f"{counted(fitted, 'training image')} without their labels."
        ),
        DISTILLED: (
            f"the re-fitted network, {counted(settings.distill_steps, 'step')} towards what "
            f"{origin} gives on training images, without their labels."
        ),
        FINE_TUNED: f"the {recovered} network, {tuned}.",
        "Scratch": f"the slim architecture, {alone}.",
        "Uniform": (
            "the same share of every group kept at the same MACs, channel counts rounded as the "
            f"pruned network's are, {alone}."
        ),
        "Random": (
            f"random channels removed instead of the low-scoring ones, {alike}then {tuned}."
        ),
        "Half width": f"about half of every group's channels, not rounded, {alone}.",
        "Original, longer": f"the original, {more} more.",
        "Smaller input": (
            "the original with the largest input, in steps of 32 pixels, with which it is no "
            f"slower than the slim network in ONNX Runtime on the CPU, {more} more."
        ),
        "int8": (
            "the original in int8 for ONNX Runtime, chosen on validation images; no training."
        ),
    }


def _in_steps(settings: StudySettings) -> str:
    """How many cuts the network was pruned in, and what came between them."""
    if settings.cuts == 1:
        return ""
    return (
        f" in {settings.cuts} cuts of at most {settings.step:g} of the original's MACs, after each "
        f"but the last {'re-fitted and ' if settings.refit else ''}trained for "
        f"{counted(settings.step_epochs, 'epoch')} with the original as teacher"
    )


def _network(folder: Path, name: str, finished: Set[str]) -> Model | None:
    return load(folder / f"{name}.cfg") if folder.name in finished else None


def _dataset(run: Path, source: Path) -> DatasetSummary:
    summary = read_summary(run)
    return DatasetSummary(
        name=source.name,
        images=summary.images,
        objects=summary.objects,
        classes=summary.names,
        warnings=summary.warnings,
    )


def _measurements(
    run: Path, subject: Subject, finished: Set[str], timed: Latencies | None
) -> list[Measurement]:
    latencies = {} if timed is None else timed.latency
    notes = _notes(subject, _fitted_on(run, subject.settings))
    found = []
    for row, (stage, name) in rows(subject.settings).items():
        if stage not in finished:
            continue
        total = cost(read_cfg(run / (ORIGINAL_CFG if name == INT8 else Path(stage, name))))
        accuracy = run / EVALUATED / evaluation_file(row)
        evaluated = EVALUATED in finished and accuracy.exists()
        found.append(
            Measurement(
                name=row,
                params=total.params,
                macs=total.macs,
                # An int8 file holds the numbers of the original in a byte each, and its graph.
                weight_bytes=(
                    (run / stage / name).stat().st_size if name == INT8 else total.weight_bytes
                ),
                latency=latencies.get(row, {}),
                accuracy=read_accuracy(accuracy) if evaluated else {},
                seconds=_seconds(run, stage, subject),
                note=notes.get(row, ""),
            )
        )
    return found


def _seconds(run: Path, stage: str, subject: Subject) -> float | None:
    """What a row's own stages took: with those before it that are no row."""
    if stage == "dense" and subject.dense is not None and not subject.fit_heads:
        return None
    before = {
        "pruned": outcome_chain(subject.settings).intermediate,
        "random": random_chain(subject.settings).stages,
        "uniform": ("uniform-pruned",),
        "half": ("half-pruned",),
        "smaller": ("smaller-input",),
    }
    manifests = [read_manifest(run / name) for name in (*before.get(stage, ()), stage)]
    return sum(found.seconds for found in manifests if found is not None) or None


def _selection(run: Path, settings: StudySettings) -> Selection | None:
    """What went of the network that was cut first, and by which scores, if it was cut once.

    None where no plan of that network says what several cuts did.
    """
    chain = outcome_chain(settings)
    sources = (*(step.source for step in chain.steps), chain.source)
    graph, plan = _cut(run, sources[0], chain.cuts[0])
    for source, cut in zip(sources[1:], chain.cuts[1:], strict=True):
        try:
            plan = compose(graph, plan, *_cut(run, source, cut))
        except PlanError:
            # Whole groups of a convolution that an earlier cut made depthwise went.
            return None
    if chain.steps:
        return Selection(plan=replace(plan, criterion=chain.criterion), scores={})
    path = run / chain.pruned / SCORES
    found = read_document(path, dict[int, list[float]], fault=RunError)
    if {group: len(own) for group, own in found.items()} != {
        group.id: group.size for group in graph.prunable
    }:
        raise RunError(f"{path}: damaged: it has not a score for each channel of the groups")
    scores = {group: np.array(own) for group, own in found.items()}
    return Selection(plan=plan, scores=scores)


def _cut(run: Path, source: str, cut: str) -> tuple[DependencyGraph, PruningPlan]:
    """A stage's groups, and which of their channels another stage kept."""
    graph = analyze(load(run / source / "best.cfg").graph)
    return graph, read_plan(run / cut / "plan.json", graph)


def _logs(run: Path, settings: StudySettings, finished: Set[str]) -> dict[str, TrainingLog]:
    """Each training after the one that it follows."""
    steps = tuple(step.trained for step in outcome_chain(settings).steps)
    source = SPARSE if settings.sparsity else STEPS if steps else ORIGINAL
    trainings: dict[str, tuple[tuple[str, ...], str | None]] = {
        ORIGINAL: (("dense",), None),
        SPARSE: (("sparse",), ORIGINAL),
        STEPS: (steps, ORIGINAL),
        FINE_TUNED: (("finetuned",), source),
    }
    tuned = {"random": source, "longer": ORIGINAL, "smaller": ORIGINAL}
    trainings |= {row: ((stage,), tuned.get(stage)) for stage, row in CONTROL_ROWS.items()}
    found = {}
    for row, (stages, follows) in trainings.items():
        logs = [read_log(run / own) for own in stages if own in finished and _trained(run / own)]
        if logs:
            found[row] = TrainingLog(lines=_joined(logs), follows=follows)
    return found


def _trained(folder: Path) -> bool:
    return (folder / LOG).exists()


def _joined(logs: Sequence[Sequence[Mapping[str, Any]]]) -> list[Mapping[str, Any]]:
    """Lines of trainings that follow each other, their epochs counted on."""
    found: list[Mapping[str, Any]] = []
    for lines in logs:
        before = TrainingLog(lines=found).epochs
        found += [{**line, "epoch": before + line["epoch"]} for line in lines]
    return found


def _chosen(run: Path, measurements: Sequence[Measurement]) -> Chosen:
    """Test images by what was lost in them; none where the data, or its evaluation, is not there.

    They are chosen by `coco`, which looks at images as `detect` does.
    """
    found = {row.name: row.accuracy.get("coco") for row in measurements}
    before, after = found.get(ORIGINAL), found.get(FINE_TUNED)
    if before is None or after is None or before.details is None or after.details is None:
        return Chosen()
    try:
        images = read_study_data(run).test().images
    except DatasetError:
        return Chosen()
    if len(images) != len(before.details.objects):
        return Chosen()
    dense, slim = (
        detector(load(run / stage / "best.cfg"), device="cpu") for stage in ("dense", "finetuned")
    )
    return compared(
        images, before.details, after.details, lambda picture: example(picture, dense, slim)
    )


def _checks(run: Path) -> list[Check]:
    return read_document(run / "exported" / "checks.json", list[Check], fault=RunError)


def _exported(run: Path, settings: StudySettings) -> ExportedFiles:
    folder = run / "exported"
    form = OnnxForm(decoded=settings.decoded, names=read_study_data(run).names)
    return ExportedFiles(
        cfg=str(folder / "slim.cfg"),
        weights=str(folder / "slim.weights"),
        names=str(folder / "slim.names"),
        # The program that is printed reads boxes.
        onnx=str(folder / "slim.onnx") if settings.decoded else None,
        interface=interface_lines(interface(read_cfg(folder / "slim.cfg"), form)),
    )
