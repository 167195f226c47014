"""`yoloprune train` and `finetune`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from yoloprune.cli.console import CfgPath, ConsoleReporter, Quiet, output
from yoloprune.cli.labelled import AllowFaulty
from yoloprune.cli.networks import NetworkWords, holds_network, only_network
from yoloprune.cli.pruned_folder import read_pruned, write_sparse
from yoloprune.cli.steps import ACCURACY, SCHEDULE
from yoloprune.cli.training import (
    Accumulate,
    AskedSize,
    BatchSize,
    Compile,
    DataPath,
    Epochs,
    EvaluateEvery,
    HoldOut,
    LearningRate,
    Precision,
    ProtocolName,
    Resume,
    RunPath,
    Seed,
    Tensorboard,
    Workers,
    stoppable,
    training_size,
)
from yoloprune.cli.training_data import (
    FitHeads,
    TrainSplit,
    ValSplit,
    fit_text,
    names_of,
    training_data,
)
from yoloprune.darknet.parser import read_cfg
from yoloprune.darknet.shapes import layer_shapes
from yoloprune.darknet.spec import NetworkSpec, with_input_size
from yoloprune.darknet.state import State
from yoloprune.darknet.weights import read_weights
from yoloprune.data.dataset import Dataset
from yoloprune.errors import CheckpointError, DatasetError, UsageError
from yoloprune.evaluation.evaluator import DEFAULT_PROTOCOL, Protocol
from yoloprune.model.initialization import training_state, transferred_state
from yoloprune.model.network import Network
from yoloprune.reporter import Reporter
from yoloprune.sparsity.masks import WeightMasks
from yoloprune.training.config import TrainingConfig
from yoloprune.training.distributed import world
from yoloprune.training.engine import train as train_network
from yoloprune.training.heads import fit_heads, with_masks
from yoloprune.training.loss import trainable_heads


def train(
    cfg: CfgPath,
    data: DataPath,
    out: RunPath,
    weights: Annotated[
        Path | None, typer.Option("--weights", help="Start from these weights.")
    ] = None,
    backbone: Annotated[
        Path | None, typer.Option("--backbone", help="Start from the first layers' weights.")
    ] = None,
    transfer: Annotated[
        tuple[Path, Path] | None,
        typer.Option(
            "--transfer",
            metavar="CFG WEIGHTS",
            help="Start from this pair where the shapes agree: everything but heads, usually.",
        ),
    ] = None,
    fit: FitHeads = False,
    train_split: TrainSplit = None,
    val_split: ValSplit = None,
    allow_faulty: AllowFaulty = False,
    hold_out: HoldOut = 0.0,
    epochs: Epochs = 30,
    protocol: ProtocolName = DEFAULT_PROTOCOL,
    evaluate_every: EvaluateEvery = 1,
    batch_size: BatchSize = 16,
    accumulate: Accumulate = 1,
    image_size: AskedSize = None,
    multi_scale: Annotated[
        float, typer.Option("--multi-scale", help="Share by which the input size varies.")
    ] = 0.0,
    optimizer: Annotated[str, typer.Option("--optimizer", help="sgd or adamw.")] = "sgd",
    learning_rate: LearningRate = 0.01,
    sparsity: Annotated[
        float,
        typer.Option(
            "--sparsity", help="Group lasso on batch-norm scales; `sparsify` zeroes weights."
        ),
    ] = 0.0,
    sparsity_schedule: Annotated[
        str, typer.Option("--sparsity-schedule", help="constant, or decay to 0 over the run.")
    ] = "constant",
    precision: Precision = "float32",
    compiled: Compile = False,
    workers: Workers = 1,
    seed: Seed = 0,
    tensorboard: Tensorboard = False,
    resume: Resume = False,
    quiet: Quiet = False,
) -> None:
    """Train a network with YOLO heads; `--resume` goes on where a run was stopped."""
    reporter = ConsoleReporter(quiet=quiet)
    spec = read_cfg(cfg)
    if sum(start is not None for start in (weights, backbone, transfer)) > 1:
        raise UsageError("give only one of --weights, --backbone and --transfer")
    state = training_state(spec, seed=seed)
    if backbone is not None:
        state |= read_weights(backbone, spec, backbone=True)
    elif transfer is not None:
        source = read_cfg(transfer[0])
        pretrained = read_weights(transfer[1], source)
        state, taken = transferred_state(spec, source, pretrained, seed=seed)
        reporter.say(f"{taken} of {len(state)} convolutions start from {transfer[1]}")
    elif weights is not None:
        state = read_weights(weights, spec)
    config = TrainingConfig(
        epochs=epochs,
        protocol=protocol,  # type: ignore[arg-type]
        evaluate_every=evaluate_every,
        batch_size=batch_size,
        accumulate=accumulate,
        image_size=training_size(spec, image_size),
        multi_scale=multi_scale,
        optimizer=optimizer,  # type: ignore[arg-type]
        learning_rate=learning_rate,
        sparsity=sparsity,
        sparsity_schedule=sparsity_schedule,  # type: ignore[arg-type]
        precision=precision,  # type: ignore[arg-type]
        compiled=compiled,
        workers=workers,
        seed=seed,
    )
    starts = [path for path in (weights, transfer and transfer[0], cfg) if path is not None]
    _run(
        spec,
        state,
        config=config,
        data=data,
        splits=(train_split, val_split),
        allow_faulty=allow_faulty,
        hold_out=hold_out,
        named_in=[path.with_suffix(".names") for path in starts] if fit else None,
        out=out,
        tensorboard=tensorboard,
        resume=resume,
        reporter=reporter,
    )


def finetune(
    words: NetworkWords,
    data: DataPath,
    out: RunPath,
    teacher: Annotated[
        tuple[Path, Path] | None,
        typer.Option("--teacher", metavar="CFG WEIGHTS", help="The dense network, to learn from."),
    ] = None,
    fit: FitHeads = False,
    train_split: TrainSplit = None,
    val_split: ValSplit = None,
    allow_faulty: AllowFaulty = False,
    hold_out: HoldOut = 0.0,
    epochs: Epochs = 10,
    protocol: ProtocolName = DEFAULT_PROTOCOL,
    evaluate_every: EvaluateEvery = 1,
    batch_size: BatchSize = 16,
    accumulate: Accumulate = 1,
    image_size: AskedSize = None,
    learning_rate: LearningRate = 0.005,
    precision: Precision = "float32",
    compiled: Compile = False,
    workers: Workers = 1,
    seed: Seed = 0,
    tensorboard: Tensorboard = False,
    resume: Resume = False,
    quiet: Quiet = False,
) -> None:
    """Train a network further, with or without its dense teacher; a folder's zeros stay zero."""
    reporter = ConsoleReporter(quiet=quiet)
    spec, state, masks, named_in = _start(words, reporter)
    config = TrainingConfig(
        epochs=epochs,
        protocol=protocol,  # type: ignore[arg-type]
        evaluate_every=evaluate_every,
        batch_size=batch_size,
        accumulate=accumulate,
        image_size=training_size(spec, image_size),
        learning_rate=learning_rate,
        warmup=0.5,
        precision=precision,  # type: ignore[arg-type]
        compiled=compiled,
        workers=workers,
        seed=seed,
    )
    _run(
        spec,
        state,
        config=config,
        data=data,
        splits=(train_split, val_split),
        allow_faulty=allow_faulty,
        hold_out=hold_out,
        named_in=named_in if fit else None,
        out=out,
        teacher=teacher,
        masks=masks,
        tensorboard=tensorboard,
        resume=resume,
        reporter=reporter,
    )


def _start(
    words: list[str], reporter: Reporter
) -> tuple[NetworkSpec, State, WeightMasks | None, list[Path]]:
    """The network to fine-tune, the masks of its folder, and files that may name its classes."""
    folder = Path(words[0])
    if len(words) == 1 and holds_network(words[0]) and folder.is_dir():
        if (folder / ACCURACY).exists():
            reporter.warn(
                f"{folder} is a step of iterate: starting from what was cut there, not last.*"
            )
        return *read_pruned(folder), sorted(folder.glob("*.names"))
    cfg, weights = only_network(words)
    if (masks := weights.parent / "masks.json").exists():
        reporter.warn(
            f"{masks} is not read, zeros do not stay: give the folder {weights.parent} for that"
        )
    spec = read_cfg(cfg)
    return spec, read_weights(weights, spec), None, [cfg.with_suffix(".names")]


def _run(
    spec: NetworkSpec,
    state: State,
    *,
    config: TrainingConfig,
    data: Path,
    splits: tuple[str | None, str | None],
    allow_faulty: bool,
    hold_out: float,
    named_in: Sequence[Path] | None,
    out: Path,
    teacher: tuple[Path, Path] | None = None,
    masks: WeightMasks | None = None,
    tensorboard: bool,
    resume: bool,
    reporter: Reporter,
) -> None:
    """Train; with `named_in` the heads are fitted, their classes before named in one of those."""
    if (out / SCHEDULE).exists():
        raise CheckpointError(f"{out} holds a run of iterate: choose another --out")
    training, validation = training_data(
        spec,
        data,
        hold_out,
        train_split=splits[0],
        val_split=splits[1],
        fit=named_in is not None,
        allow_faulty=allow_faulty,
        reporter=reporter,
    )
    told = ""
    if named_in is not None:
        names = names_of(spec, named_in)
        fitted = fit_heads(
            spec, state, training, size=config.input_size, names=names, seed=config.seed
        )
        told = fit_text(spec, fitted)
        masks = None if masks is None else with_masks(spec, fitted.spec, masks)
        spec, state = fitted.spec, fitted.state
    taught_by = None if teacher is None else _teacher(*teacher, spec, config.input_size)
    with world() as here, stoppable(out, here):
        if told and here.is_first:
            reporter.say(told)
        log = train_network(
            spec,
            state,
            training=training,
            validation=validation,
            config=config,
            run=out,
            world=here,
            teacher=taught_by,
            masks=masks,
            tensorboard=tensorboard,
            resume=resume,
            reporter=reporter,
        )
        if here.is_first:
            if masks is not None:
                write_sparse(out, masks)
            _print_end(out, log, config.protocol, training, validation, hold_out)


def _teacher(cfg: Path, weights: Path, student: NetworkSpec, size: tuple[int, int]) -> Network:
    spec, student = (with_input_size(network, *size) for network in (read_cfg(cfg), student))
    if spec.input_shape != student.input_shape:
        raise DatasetError(
            f"{cfg}: the teacher reads {spec.input_shape[0]} channels, the student "
            f"{student.input_shape[0]}"
        )
    if _heads(spec) != _heads(student):
        raise DatasetError(
            f"{cfg}: the teacher's heads differ from the student's (anchors, classes or grids)"
        )
    return Network.from_state(spec, read_weights(weights, spec))


def _heads(spec: NetworkSpec) -> list[object]:
    """What the values of each head's map mean."""
    shapes = layer_shapes(spec)
    return [
        (shapes[head.index], head.anchors, head.classes, head.scale_x_y, head.new_coords)
        for head in trainable_heads(spec)
    ]


def _print_end(
    out: Path,
    log: list[dict[str, Any]],
    protocol: Protocol,
    training: Dataset,
    validation: Dataset,
    hold_out: float,
) -> None:
    best = max((line["map50"] or 0.0) for line in log)
    judged = "held out of them" if hold_out else f"of split {validation.split}"
    output.print(
        f"{out}: {len(log)} epochs, best mAP@0.5 ({protocol}) {best:.4f}; {len(training.images)} "
        f"training images of split {training.split}, {len(validation.images)} to judge by {judged}",
        soft_wrap=True,
    )
