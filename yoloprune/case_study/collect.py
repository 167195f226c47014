"""From the folders of a run to the study that its report shows."""

import json
import shlex
from pathlib import Path
from typing import Any

import numpy as np

from yoloprune.case_study.data import SUMMARY, read_study_data
from yoloprune.case_study.measurements import (
    evaluation_file,
    read_accuracy,
    read_latency,
)
from yoloprune.case_study.pipeline import SETTINGS, rows
from yoloprune.case_study.settings import StudySettings
from yoloprune.case_study.stages import read_manifest
from yoloprune.cost import cost
from yoloprune.darknet.parser import read_cfg
from yoloprune.datasets.anchors import format_anchors
from yoloprune.datasets.images import darknet_resize, read_image
from yoloprune.datasets.labels import LabelledImage
from yoloprune.errors import PlanError
from yoloprune.evaluation.evaluator import NMS_THRESHOLD, ground_truth
from yoloprune.evaluation.inference import detect_objects
from yoloprune.model.network import Network
from yoloprune.pruning.budget import Scope, comparable
from yoloprune.pruning.groups import analyse
from yoloprune.pruning.importance import criterion_named, score
from yoloprune.pruning.plan import read_plan
from yoloprune.report.study import (
    FINE_TUNED,
    ORIGINAL,
    Check,
    Command,
    DatasetSummary,
    Example,
    ExportedFiles,
    Measurement,
    Selection,
    Study,
)
from yoloprune.training.config import TrainingConfig
from yoloprune.training.run_folder import read_network

EXAMPLES = 6
"""Test images that the report shows."""

THRESHOLD = 0.25
"""Score from which on a detection is shown."""

NOTES = {
    "Scratch": "the slim architecture, trained from random weights as long as the original was.",
    "Uniform": "the same share of every group kept at the same MACs, trained from random weights.",
    "Random": "random channels removed instead of the low-scoring ones, then fine-tuned alike.",
}
_STAGE_ROWS = {"dense": ORIGINAL, "sparse": "Sparsity training", "finetuned": FINE_TUNED}


def read_study(run: Path) -> Study:
    """Everything that the finished stages of a run say; raises `PlanError` if it is no run."""
    if not (run / SETTINGS).is_file():
        raise PlanError(f"{run}: not the folder of a case study: it has no {SETTINGS}")
    data = read_manifest(run / "data")
    if data is None:
        raise PlanError(f"{run}: nothing to report yet: the data stage is not finished")
    begun = json.loads((run / SETTINGS).read_text(encoding="utf-8"))
    settings = _settings(begun["settings"])
    dense, slim = _spec(run, "dense", "best"), _spec(run, "pruned", "slim")
    return Study(
        title=f"Case study: {begun['preset']}",
        dataset=_dataset(run, begun["data"]),
        measurements=_measurements(run, settings),
        dense=dense,
        slim=slim,
        selection=_selection(run, settings) if slim is not None else None,
        training=_logs(run, settings),
        examples=_examples(run) if _finished(run, "finetuned") else (),
        example_threshold=THRESHOLD,
        checks=_checks(run),
        commands=_commands(run, begun, settings),
        settings=begun["settings"],
        # Latencies depend on it most.
        environment=(read_manifest(run / "benchmark") or data)["environment"],
        exported=_exported(run),
    )


def _settings(document: dict[str, Any]) -> StudySettings:
    rendered = document["rendered"]
    return StudySettings(
        **document
        | {
            "controls": tuple(document["controls"]),
            "rendered": None if rendered is None else tuple(rendered),
        }
    )


def _finished(run: Path, stage: str) -> bool:
    return read_manifest(run / stage) is not None


def _spec(run: Path, stage: str, name: str) -> Any:
    return read_cfg(run / stage / f"{name}.cfg") if _finished(run, stage) else None


def _dataset(run: Path, source: str | None) -> DatasetSummary:
    document = json.loads((run / "data" / SUMMARY).read_text(encoding="utf-8"))
    return DatasetSummary(
        name="rendered hands" if source is None else Path(source).name,
        images=document["images"],
        boxes=document["boxes"],
        classes=tuple(document["names"]),
    )


def _measurements(run: Path, settings: StudySettings) -> list[Measurement]:
    latencies = {}
    if _finished(run, "benchmark"):
        latencies = read_latency(run / "benchmark" / "latency.json")
    found = []
    for row, (stage, name) in rows(settings).items():
        if not _finished(run, stage):
            continue
        total = cost(read_cfg(run / stage / f"{name}.cfg"))
        evaluated = run / "evaluated" / evaluation_file(row)
        found.append(
            Measurement(
                name=row,
                params=total.params,
                macs=total.macs,
                weight_bytes=total.weight_bytes,
                latency=latencies.get(row, {}),
                accuracy=read_accuracy(evaluated) if evaluated.exists() else {},
                note=NOTES.get(row, ""),
            )
        )
    return found


def _selection(run: Path, settings: StudySettings) -> Selection:
    spec, state = read_network(run / ("sparse" if settings.sparsity else "dense"), "best")
    graph = analyse(spec)
    scores = score(graph, state, criterion_named(settings.criterion, settings.seed))
    plan = read_plan(run / "pruned" / "plan.json", graph)
    return Selection(plan=plan, scores=comparable(scores, Scope.GLOBAL))


def _logs(run: Path, settings: StudySettings) -> dict[str, list[dict[str, Any]]]:
    names = _STAGE_ROWS | {name: name.capitalize() for name in settings.controls}
    found = {}
    for stage, row in names.items():
        log = run / stage / "log.jsonl"
        if _finished(run, stage) and log.exists():
            lines = log.read_text(encoding="utf-8").splitlines()
            found[row] = [json.loads(line) for line in lines]
    return found


def _examples(run: Path) -> list[Example]:
    """Test images with objects, evenly spread over the set."""
    images = [image for image in read_study_data(run).test().images if len(image.labels)]
    chosen = np.linspace(0, len(images) - 1, min(EXAMPLES, len(images))).round().astype(int)
    networks = [
        Network.from_state(*read_network(run / stage, "best")) for stage in ("dense", "finetuned")
    ]
    return [_example(images[number], *networks) for number in chosen]


def _example(labelled: LabelledImage, dense: Network, slim: Network) -> Example:
    image = read_image(labelled.path)
    found = [
        detect_objects(
            network,
            image,
            darknet_resize(network.spec),
            threshold=THRESHOLD,
            iou_threshold=NMS_THRESHOLD,
        )
        for network in (dense, slim)
    ]
    truth = ground_truth(labelled, image.shape[:2])
    return Example(image=image, truth=truth, dense=found[0], slim=found[1])


def _checks(run: Path) -> list[Check]:
    if not _finished(run, "exported"):
        return []
    document = json.loads((run / "exported" / "checks.json").read_text(encoding="utf-8"))
    return [Check(**check) for check in document]


def _exported(run: Path) -> ExportedFiles | None:
    if not _finished(run, "exported"):
        return None
    folder = run / "exported"
    paths = {kind: str(folder / f"slim.{kind}") for kind in ("cfg", "weights", "names", "onnx")}
    return ExportedFiles(**paths)


def _commands(run: Path, begun: dict[str, Any], settings: StudySettings) -> list[Command]:
    """One command for everything, and one for each stage that made a network of the table."""
    whole = ["yoloprune", "case-study", "--preset", begun["preset"], "--out", str(run)]
    whole += [] if begun["data"] is None else ["--data", begun["data"]]
    whole += [] if begun["dense"] is None else ["--dense", *begun["dense"]]
    whole += [] if begun["backbone"] is None else ["--backbone", begun["backbone"]]
    whole += ["--epochs", str(settings.epochs), "--finetune-epochs", str(settings.finetune_epochs)]
    whole += ["--keep-macs", str(settings.keep_macs), "--seed", str(settings.seed)]
    whole += ["--precision", settings.precision]
    if settings.sparsity:
        whole += ["--sparsity", str(settings.sparsity), str(settings.sparsity_epochs)]
    for control in settings.controls:
        whole += ["--control", control]
    lines = {"everything": whole} | _stage_commands(run, begun, settings)
    return [
        Command(stage=stage, line=shlex.join(words), seed=settings.seed)
        for stage, words in lines.items()
    ]


def _stage_commands(
    run: Path, begun: dict[str, Any], settings: StudySettings
) -> dict[str, list[str]]:
    data = read_study_data(run)
    shared = ["--data", str(data.path), "--hold-out", str(settings.hold_out)]
    dense = _paths(run / "dense")
    found = {}
    if begun["dense"] is None:
        cfg = str(run / "dense.cfg")
        found["the network"] = [
            "yoloprune", "zoo", "yolov3", "--classes", str(len(data.names)),
            "--width", str(settings.width), "--size", str(settings.image_size),
            "--anchors", format_anchors(data.anchors), "--out", cfg,
        ]  # fmt: skip
        found["the original"] = [
            "yoloprune", "train", cfg, *shared, *_options(settings.training()),
            "--out", str(run / "dense"),
        ]  # fmt: skip
        if begun["backbone"] is not None:
            found["the original"] += ["--backbone", begun["backbone"]]
    source = dense
    if settings.sparsity:
        source = _paths(run / "sparse")
        found["sparsity training"] = [
            "yoloprune", "train", dense[0], "--weights", dense[1], *shared,
            *_options(settings.sparse_training()), "--sparsity", str(settings.sparsity),
            "--out", str(run / "sparse"),
        ]  # fmt: skip
    found["pruning"] = [
        "yoloprune", "prune", *source, "--keep-macs", str(settings.keep_macs),
        "--criterion", settings.criterion, "--seed", str(settings.seed),
        "--compensate", "carrier" if settings.sparsity else "none", "--out", str(run / "pruned"),
    ]  # fmt: skip
    found["fine-tuning"] = [
        "yoloprune", "finetune", str(run / "pruned"), *shared, *_options(settings.finetuning()),
        "--teacher", *dense, "--out", str(run / "finetuned"),
    ]  # fmt: skip
    best = _paths(run / "finetuned")
    found["evaluation"] = [
        "yoloprune", "evaluate", *best, "--data", str(data.path), "--protocol", "both"
    ]  # fmt: skip
    found["latency"] = ["yoloprune", "benchmark", *dense, *best]
    return found


def _paths(folder: Path) -> list[str]:
    return [str(folder / f"best.{kind}") for kind in ("cfg", "weights")]


def _options(config: TrainingConfig) -> list[str]:
    """The options of `train` and `finetune` that make these settings."""
    options = {
        "--epochs": config.epochs,
        "--evaluate-every": config.evaluate_every,
        "--batch-size": config.batch_size,
        "--accumulate": config.accumulate,
        "--learning-rate": config.learning_rate,
        "--precision": config.precision,
        "--seed": config.seed,
    }
    return [str(word) for option in options.items() for word in option]
