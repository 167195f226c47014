"""`yoloprune train` and `finetune`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from yoloprune.cli.console import ConsoleReporter, print_result
from yoloprune.cli.engine_options import Device
from yoloprune.cli.networks import only_network
from yoloprune.cli.options import (
    Accumulate,
    AllowFaulty,
    BatchSize,
    CfgPath,
    Compile,
    DataPath,
    Epochs,
    EvaluateEvery,
    FitHeads,
    HoldOut,
    ImageSize,
    Json,
    LearningRate,
    NetworkWords,
    Precision,
    ProtocolName,
    Quiet,
    Resume,
    RunPath,
    Seed,
    Tensorboard,
    TrainSplit,
    ValSplit,
    Workers,
)
from yoloprune.cli.training import asked_size, training_errors
from yoloprune.devices import AUTO
from yoloprune.reporter import Reporter
from yoloprune.training.config import FINETUNE, TRAIN
from yoloprune.training.peers import is_first
from yoloprune.workflows.models import load
from yoloprune.workflows.train import Trained, initial_model
from yoloprune.workflows.train import finetune as finetune_network
from yoloprune.workflows.train import train as train_network
from yoloprune.workflows.training_data import TrainingSource


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
            help="Start from this network (or its folder) where the shapes agree: not heads.",
        ),
    ] = None,
    fit_heads: FitHeads = False,
    train_split: TrainSplit = None,
    val_split: ValSplit = None,
    allow_faulty: AllowFaulty = False,
    hold_out: HoldOut = 0.0,
    epochs: Epochs = TRAIN.epochs,
    protocol: ProtocolName = TRAIN.protocol,
    evaluate_every: EvaluateEvery = TRAIN.evaluate_every,
    batch_size: BatchSize = TRAIN.batch_size,
    accumulate: Accumulate = TRAIN.accumulate,
    image_size: ImageSize = None,
    multi_scale: Annotated[
        float, typer.Option("--multi-scale", help="Fraction by which the input size varies.")
    ] = TRAIN.multi_scale,
    optimizer: Annotated[str, typer.Option("--optimizer", help="sgd or adamw.")] = TRAIN.optimizer,
    learning_rate: LearningRate = TRAIN.learning_rate,
    sparsity: Annotated[
        float,
        typer.Option("--sparsity", help="Strength of the group lasso on batch-norm scales."),
    ] = TRAIN.sparsity,
    sparsity_schedule: Annotated[
        str, typer.Option("--sparsity-schedule", help="constant, or decay to 0 over the run.")
    ] = TRAIN.sparsity_schedule,
    precision: Precision = TRAIN.precision,
    compiled: Compile = TRAIN.compiled,
    workers: Workers = TRAIN.workers,
    seed: Seed = TRAIN.seed,
    tensorboard: Tensorboard = False,
    device: Device = AUTO,
    resume: Resume = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train a network with YOLO heads; `--resume` continues a stopped run."""
    reporter = ConsoleReporter(quiet=quiet or as_json)
    with training_errors(out):
        network = initial_model(
            cfg,
            weights=weights,
            backbone=backbone,
            transfer=None if transfer is None else load(*transfer),
            seed=seed,
            reporter=reporter,
        )
        trained = train_network(
            network,
            _source(data, train_split, val_split, hold_out, allow_faulty),
            out,
            fit_heads=fit_heads,
            tensorboard=tensorboard,
            resume=resume,
            device=device,
            reporter=reporter,
            epochs=epochs,
            protocol=protocol,
            evaluate_every=evaluate_every,
            batch_size=batch_size,
            accumulate=accumulate,
            multi_scale=multi_scale,
            optimizer=optimizer,
            learning_rate=learning_rate,
            sparsity=sparsity,
            sparsity_schedule=sparsity_schedule,
            precision=precision,
            compiled=compiled,
            workers=workers,
            seed=seed,
            **asked_size(image_size),
        )
    _print(trained, as_json, quiet)


def finetune(
    words: NetworkWords,
    data: DataPath,
    out: RunPath,
    teacher: Annotated[
        tuple[Path, Path] | None,
        typer.Option(
            "--teacher",
            metavar="CFG WEIGHTS",
            help="The dense network, to learn from (or its folder).",
        ),
    ] = None,
    fit_heads: FitHeads = False,
    train_split: TrainSplit = None,
    val_split: ValSplit = None,
    allow_faulty: AllowFaulty = False,
    hold_out: HoldOut = 0.0,
    epochs: Epochs = FINETUNE.epochs,
    protocol: ProtocolName = FINETUNE.protocol,
    evaluate_every: EvaluateEvery = FINETUNE.evaluate_every,
    batch_size: BatchSize = FINETUNE.batch_size,
    accumulate: Accumulate = FINETUNE.accumulate,
    image_size: ImageSize = None,
    learning_rate: LearningRate = FINETUNE.learning_rate,
    precision: Precision = FINETUNE.precision,
    compiled: Compile = FINETUNE.compiled,
    workers: Workers = FINETUNE.workers,
    seed: Seed = FINETUNE.seed,
    tensorboard: Tensorboard = False,
    device: Device = AUTO,
    resume: Resume = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train a network further, with or without its dense teacher; a folder's zeros stay zero."""
    reporter = ConsoleReporter(quiet=quiet or as_json)
    with training_errors(out):
        trained = finetune_network(
            _start(words, reporter),
            _source(data, train_split, val_split, hold_out, allow_faulty),
            out,
            teacher=None if teacher is None else load(*teacher),
            fit_heads=fit_heads,
            tensorboard=tensorboard,
            resume=resume,
            device=device,
            reporter=reporter,
            epochs=epochs,
            protocol=protocol,
            evaluate_every=evaluate_every,
            batch_size=batch_size,
            accumulate=accumulate,
            learning_rate=learning_rate,
            precision=precision,
            compiled=compiled,
            workers=workers,
            seed=seed,
            **asked_size(image_size),
        )
    _print(trained, as_json, quiet)


def _start(words: list[str], reporter: Reporter) -> Any:
    """The folder to fine-tune what is in, or the network of a pair."""
    if len(words) == 1 and Path(words[0]).is_dir():
        return Path(words[0])
    cfg, weights = only_network(words)
    if (masks := weights.parent / "masks.json").exists():
        reporter.warn(
            f"{masks} is not read, zeros do not stay: give the folder {weights.parent} for that"
        )
    return load(cfg, weights)


def _source(
    path: Path, train_split: str | None, val_split: str | None, hold_out: float, faulty: bool
) -> TrainingSource:
    return TrainingSource(
        path=path,
        train_split=train_split,
        val_split=val_split,
        hold_out=hold_out,
        allow_faulty=faulty,
    )


def _print(trained: Trained, as_json: bool, quiet: bool) -> None:
    if is_first():
        print_result(trained.shown(), as_json=as_json, quiet=quiet)
