"""The command lines that repeat a study, whole and stage by stage."""

import shlex
from pathlib import Path

from yoloprune.data.anchors import format_anchors
from yoloprune.pruning.plan import read_before
from yoloprune.pruning.score.on_weights import MEASURED_CRITERIA
from yoloprune.report.study import Command
from yoloprune.training.config import TrainingConfig
from yoloprune.workflows.case_study.chain import Chain, outcome_chain, random_chain, share_left
from yoloprune.workflows.case_study.data import TRAINING, StudyData, read_study_data
from yoloprune.workflows.case_study.measurements import THREADS
from yoloprune.workflows.case_study.networks import HALF
from yoloprune.workflows.case_study.settings import StudySettings
from yoloprune.workflows.case_study.subject import Subject

REPEAT = "repeat"
"""Folder that the commands write to: the study's own is left as it is."""


def commands(run: Path, subject: Subject) -> list[Command]:
    """One command for everything, and one for each stage that made a network of the table."""
    data = read_study_data(run)
    lines = {
        "everything": _everything(run, subject),
        **_original(subject, data),
        **_outcome(run, subject, data),
        **_controls(run, subject, data),
    }
    best = _pair("finetuned")
    lines["evaluation"] = ["evaluate", *best, "--data", str(data.path), "--protocol", "both"]
    lines["latency"] = ["benchmark", *_dense(subject), *best, "--threads", str(THREADS)]
    return [
        Command(
            stage=stage,
            line=shlex.join(["yoloprune", *words]),
            seed=int(words[words.index("--seed") + 1]) if "--seed" in words else None,
        )
        for stage, words in lines.items()
    ]


def _everything(run: Path, subject: Subject) -> list[str]:
    settings = subject.settings
    words = ["case-study", "--preset", subject.preset, "--out", f"{REPEAT}/study"]
    words += ["--data", str(subject.data)]
    words += [] if subject.dense is None else ["--dense", *map(str, subject.dense)]
    words += [] if subject.backbone is None else ["--backbone", str(subject.backbone)]
    words += [] if subject.transfer is None else ["--transfer", *map(str, subject.transfer)]
    words += ["--fit-heads"] if subject.fit_heads else []
    words += _splits((subject.train_split, subject.val_split), subject.allow_faulty)
    words += ["--epochs", str(settings.epochs)] if subject.counts_epochs else []
    words += ["--finetune-epochs", str(settings.finetune_epochs)]
    words += ["--keep-macs", str(settings.keep_macs), *_rounding(run, subject, "pruned")]
    words += ["--precision", settings.precision]
    words += ["--criterion", settings.criterion]
    words += ["--refit" if settings.refit else "--no-refit"]
    words += ["--calibration-images", str(settings.calibration_images)]
    words += ["--distill-steps", str(settings.distill_steps)]
    words += ["--learning-rate", str(settings.learning_rate)] if subject.counts_epochs else []
    words += ["--finetune-rate", str(settings.finetune_rate)]
    words += ["--batch-size", str(settings.batch_size)]
    words += ["--accumulate", str(settings.accumulate), "--seed", str(settings.seed)]
    words += [] if settings.decoded else ["--raw"]
    if settings.sparsity:
        words += ["--sparsity", str(settings.sparsity), str(settings.sparsity_epochs)]
    if settings.step:
        words += ["--iterate", str(settings.step), str(settings.step_epochs)]
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
        if subject.transfer is not None:
            found["the original"] += ["--transfer", *map(str, subject.transfer)]
    if settings.sparsity:
        cfg, weights = _dense(subject)
        config = settings.sparse_training()
        found["sparsity training"] = ["train", cfg, "--weights", weights]
        found["sparsity training"] += _training(data, settings, config)
        found["sparsity training"] += ["--sparsity", str(settings.sparsity)]
        found["sparsity training"] += ["--out", f"{REPEAT}/sparse"]
    return found


def _outcome(run: Path, subject: Subject, data: StudyData) -> dict[str, list[str]]:
    chain = outcome_chain(subject.settings)
    return _slimming(run, subject, data, chain, "", ("fine-tuning", "finetuned"))


def _slimming(
    run: Path,
    subject: Subject,
    data: StudyData,
    chain: Chain,
    title: str,
    tuned: tuple[str, str],
) -> dict[str, list[str]]:
    """The commands of a chain, under its title, as far as they can be told yet.

    `tuned` are what its fine-tuning is called, and the stage's name.
    """
    settings, found = subject.settings, dict[str, list[str]]()
    for step in chain.steps:
        what, seed = f"{title}step {step.number}", settings.seed + step.number
        if not _is_known(run, step.source):
            return found
        source, share = _pair_of(subject, step.source), share_left(run, step.source, step.share)
        found[f"{what}, pruning"] = _pruning(run, subject, chain, source, share, step.cut, seed)
        if settings.refit:
            found[f"{what}, re-fitting"] = _refitting(run, settings, source, step.cut, seed)
        found[f"{what}, fine-tuning"] = _finetuning(
            subject, data, step.cut, step.trained, settings.step_training(step.number)
        )
    if not _is_known(run, chain.source):
        return found
    source = _pair_of(subject, chain.source)
    share = share_left(run, chain.source, settings.keep_macs)
    found[f"{title}pruning"] = _pruning(
        run, subject, chain, source, share, chain.pruned, settings.seed
    )
    if settings.refit:
        words = _refitting(run, settings, source, chain.pruned, settings.seed)
        steps = settings.distill_steps
        words += ["--distill-steps", str(steps)] if steps else []
        found[f"{title}{'re-fitting and distillation' if steps else 're-fitting'}"] = words
    what, stage = tuned
    found[what] = _finetuning(subject, data, chain.pruned, stage, settings.finetuning())
    return found


def _is_known(run: Path, stage: str) -> bool:
    """Whether it can be told how much is left of a stage's network."""
    return stage in ("dense", "sparse") or (run / stage / "best.cfg").exists()


def _controls(run: Path, subject: Subject, data: StudyData) -> dict[str, list[str]]:
    settings = subject.settings
    whole = _training(data, settings, settings.control_training())
    more = _training(data, settings, settings.longer_training())
    chain = random_chain(settings)
    random = _slimming(run, subject, data, chain, "random ", ("random", "random"))
    smaller = [run / "smaller-input" / f"best.{kind}" for kind in ("cfg", "weights")]
    known = {
        "scratch": {
            "scratch": ["train", f"{REPEAT}/pruned/slim.cfg", *whole, "--out", f"{REPEAT}/scratch"],
        },
        "uniform": _narrower(
            subject, "uniform", settings.keep_macs, _rounding(run, subject, "uniform-pruned"), whole
        ),
        "random": random,
        "half": _narrower(subject, "half", HALF, ["--multiple-of", "1"], whole),
        "longer": {
            "the original, longer": [
                "finetune", *_dense(subject), *more, "--out", f"{REPEAT}/longer"
            ],
        },
        "smaller": {
            "smaller input": [
                "finetune", *map(str, smaller), *more, "--out", f"{REPEAT}/smaller"
            ],
        },
        # The images that it is chosen by are held out of the others: no command but the first can
        # name them.
        "int8": {},
    }  # fmt: skip
    return {name: line for control in settings.controls for name, line in known[control].items()}


def _narrower(
    subject: Subject, stage: str, share: float, rounding: list[str], training: list[str]
) -> dict[str, list[str]]:
    words = ["prune", *_dense(subject), "--scope", "layer", "--criterion", "l2"]
    words += ["--keep-macs", str(share), *rounding]
    cfg = f"{REPEAT}/{stage}-pruned/slim.cfg"
    return {
        f"a {stage} network": [*words, "--out", f"{REPEAT}/{stage}-pruned"],
        stage: ["train", cfg, *training, "--out", f"{REPEAT}/{stage}"],
    }


def _pruning(
    run: Path,
    subject: Subject,
    chain: Chain,
    source: list[str],
    share: float,
    stage: str,
    seed: int,
) -> list[str]:
    settings, criterion = subject.settings, chain.criterion
    words = ["prune", *source, "--keep-macs", str(share), "--criterion", criterion]
    if criterion in MEASURED_CRITERIA:
        # What is re-fitted is a row of its own.
        words += [*_images(run, settings, seed), "--no-refit"]
    elif criterion == "random":
        words += ["--seed", str(seed)]
    if stage == chain.pruned:
        words += ["--compensation", settings.compensation.value]
    return [*words, *_rounding(run, subject, stage), "--out", f"{REPEAT}/{stage}"]


def _rounding(run: Path, subject: Subject, stage: str) -> list[str]:
    """What a plan's channel counts were rounded to."""
    plan = run / stage / "plan.json"
    # What suits the engines here may not suit those of another machine.
    suited = read_before(plan).budget.multiple_of if plan.exists() else None
    chosen = subject.settings.multiple_of
    multiple = suited if chosen is None else chosen
    return [] if multiple is None else ["--multiple-of", str(multiple)]


def _refitting(
    run: Path, settings: StudySettings, source: list[str], stage: str, seed: int
) -> list[str]:
    return ["reconstruct", *source, f"{REPEAT}/{stage}", *_images(run, settings, seed)]


def _images(run: Path, settings: StudySettings, seed: int) -> list[str]:
    words = ["--images", str(run / "data" / TRAINING), "--seed", str(seed)]
    return [*words, "--calibration-images", str(settings.calibration_images)]


def _finetuning(
    subject: Subject, data: StudyData, source: str, stage: str, config: TrainingConfig
) -> list[str]:
    words = ["finetune", f"{REPEAT}/{source}", *_training(data, subject.settings, config)]
    return [*words, "--teacher", *_dense(subject), "--out", f"{REPEAT}/{stage}"]


def _pair_of(subject: Subject, stage: str) -> list[str]:
    return _dense(subject) if stage == "dense" else _pair(stage)


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
