"""The command lines that repeat a study, whole and stage by stage."""

import shlex
from pathlib import Path

from yoloprune.data.anchors import format_anchors
from yoloprune.report.study import Command
from yoloprune.training.config import TrainingConfig
from yoloprune.workflows.case_study.data import StudyData, read_study_data
from yoloprune.workflows.case_study.settings import StudySettings
from yoloprune.workflows.case_study.subject import Subject

REPEAT = "repeat"
"""Folder that the commands write to: the study's own is left as it is."""


def commands(run: Path, subject: Subject) -> list[Command]:
    """One command for everything, and one for each stage that made a network of the table."""
    data = read_study_data(run)
    lines = {
        "everything": _everything(subject),
        **_original(subject, data),
        **_outcome(subject, data),
        **_controls(subject, data),
    }
    best = _pair("finetuned")
    lines["evaluation"] = ["evaluate", *best, "--data", str(data.path), "--protocol", "both"]
    lines["latency"] = ["benchmark", *_dense(subject), *best]
    return [
        Command(
            stage=stage,
            line=shlex.join(["yoloprune", *words]),
            seed=subject.settings.seed if "--seed" in words else None,
        )
        for stage, words in lines.items()
    ]


def _everything(subject: Subject) -> list[str]:
    settings = subject.settings
    words = ["case-study", "--preset", subject.preset, "--out", f"{REPEAT}/study"]
    words += ["--data", str(subject.data)]
    words += [] if subject.dense is None else ["--dense", *map(str, subject.dense)]
    words += [] if subject.backbone is None else ["--backbone", str(subject.backbone)]
    words += ["--fit-heads"] if subject.fit_heads else []
    words += _splits((subject.train_split, subject.val_split), subject.allow_faulty)
    words += ["--epochs", str(settings.epochs), "--finetune-epochs", str(settings.finetune_epochs)]
    words += ["--keep-macs", str(settings.keep_macs), "--precision", settings.precision]
    words += ["--criterion", settings.criterion]
    words += ["--accumulate", str(settings.accumulate), "--seed", str(settings.seed)]
    words += [] if settings.decoded else ["--raw"]
    if settings.sparsity:
        words += ["--sparsity", str(settings.sparsity), str(settings.sparsity_epochs)]
    for control in settings.controls:
        words += ["--control", control]
    return words


def _original(subject: Subject, data: StudyData) -> dict[str, list[str]]:
    settings = subject.settings
    found = {}
    if subject.dense is not None and subject.fit_heads:
        cfg, weights = map(str, subject.dense)
        found["the original"] = ["train", cfg, "--weights", weights, "--fit-heads"]
        found["the original"] += _training(data, settings, settings.training())
        found["the original"] += ["--out", f"{REPEAT}/dense"]
    elif subject.dense is None:
        cfg = f"{REPEAT}/dense.cfg"
        found["the network"] = [
            "zoo", "yolov3", "--classes", str(len(data.names)),
            "--width", str(settings.width), "--size", str(settings.image_size),
            "--anchors", format_anchors(data.anchors), "--out", cfg,
        ]  # fmt: skip
        found["the original"] = ["train", cfg, *_training(data, settings, settings.training())]
        found["the original"] += ["--out", f"{REPEAT}/dense"]
        if subject.backbone is not None:
            found["the original"] += ["--backbone", str(subject.backbone)]
    if settings.sparsity:
        cfg, weights = _dense(subject)
        config = settings.sparse_training()
        found["sparsity training"] = ["train", cfg, "--weights", weights]
        found["sparsity training"] += _training(data, settings, config)
        found["sparsity training"] += ["--sparsity", str(settings.sparsity)]
        found["sparsity training"] += ["--out", f"{REPEAT}/sparse"]
    return found


def _outcome(subject: Subject, data: StudyData) -> dict[str, list[str]]:
    return {
        "pruning": _pruning(subject, subject.settings.criterion, "pruned"),
        "fine-tuning": _finetuning(subject, data, "pruned", "finetuned"),
    }


def _controls(subject: Subject, data: StudyData) -> dict[str, list[str]]:
    settings = subject.settings
    whole = _training(data, settings, settings.training())
    # What its channels are is random anyway, so that only their numbers matter.
    narrow = ["prune", *_dense(subject), "--scope", "layer", "--criterion", "l2"]
    narrow += [
        "--keep-macs",
        str(settings.keep_macs),
        "--multiple-of",
        "1",
        "--out",
        f"{REPEAT}/uniform-pruned",
    ]
    known = {
        "scratch": {
            "scratch": ["train", f"{REPEAT}/pruned/slim.cfg", *whole, "--out", f"{REPEAT}/scratch"],
        },
        "uniform": {
            "a uniformly narrower network": narrow,
            "uniform": [
                "train", f"{REPEAT}/uniform-pruned/slim.cfg", *whole, "--out", f"{REPEAT}/uniform"
            ],
        },
        "random": {
            "random pruning": _pruning(subject, "random", "random-pruned"),
            "random": _finetuning(subject, data, "random-pruned", "random"),
        },
    }  # fmt: skip
    return {name: line for control in settings.controls for name, line in known[control].items()}


def _pruning(subject: Subject, criterion: str, stage: str) -> list[str]:
    settings = subject.settings
    source = _pair("sparse") if settings.sparsity else _dense(subject)
    words = [
        "prune",
        *source,
        "--keep-macs",
        str(settings.keep_macs),
        "--multiple-of",
        "1",
        "--criterion",
        criterion,
    ]
    words += ["--seed", str(settings.seed)] if criterion == "random" else []
    words += ["--compensation", settings.compensation.value]
    return [*words, "--out", f"{REPEAT}/{stage}"]


def _finetuning(subject: Subject, data: StudyData, source: str, stage: str) -> list[str]:
    settings = subject.settings
    words = ["finetune", f"{REPEAT}/{source}", *_training(data, settings, settings.finetuning())]
    return [*words, "--teacher", *_dense(subject), "--out", f"{REPEAT}/{stage}"]


def _dense(subject: Subject) -> list[str]:
    if subject.dense is None or subject.fit_heads:
        return _pair("dense")
    return list(map(str, subject.dense))


def _pair(stage: str) -> list[str]:
    return [f"{REPEAT}/{stage}/best.{kind}" for kind in ("cfg", "weights")]


def _training(data: StudyData, settings: StudySettings, config: TrainingConfig) -> list[str]:
    """The options of `train` and `finetune` that make these settings."""
    options = {
        "--data": data.path,
        **({"--hold-out": settings.hold_out} if data.chosen[1] is None else {}),
        "--epochs": config.epochs,
        "--protocol": config.protocol,
        "--evaluate-every": config.evaluate_every,
        "--batch-size": config.batch_size,
        "--accumulate": config.accumulate,
        "--learning-rate": config.learning_rate,
        "--precision": config.precision,
        "--seed": config.seed,
    }
    words = [str(word) for option in options.items() for word in option]
    return words + _splits(data.chosen, data.allow_faulty)


def _splits(chosen: tuple[str | None, str | None], allow_faulty: bool) -> list[str]:
    """The options for the splits that were asked for, and for what may be wrong in them."""
    named = zip(("--train-split", "--val-split"), chosen, strict=True)
    words = [word for option, name in named if name is not None for word in (option, name)]
    return words + ["--allow-faulty"] * allow_faulty
