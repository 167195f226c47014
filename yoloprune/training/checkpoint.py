"""One file that holds everything a run needs to go on, written whole or not at all."""

import io
import zipfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from yoloprune.darknet.spec import NetworkSpec
from yoloprune.errors import CheckpointError
from yoloprune.files import write_atomically
from yoloprune.training.config import TrainingConfig

VERSION = 3

BEFORE = {"protocol": "case-study"}
"""What runs did before there was a setting for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """Where a run is: `step` steps of epoch `epoch` are done, with these sums of their losses."""

    epoch: int
    step: int
    sums: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Checkpoint:
    """A run between two steps.

    `model`, `average` (EMA), `optimizer` and `scaler` (of float16 gradients) are state dicts; `log`
    the finished epochs' lines; `best` the best mAP so far; `steps` all optimizer steps so far;
    `random` torch's generator.
    """

    position: Position
    steps: int
    model: dict[str, Any]
    average: dict[str, Any]
    optimizer: dict[str, Any]
    scaler: dict[str, Any]
    log: list[dict[str, Any]]
    best: float
    random: torch.Tensor


def save_checkpoint(
    path: Path,
    spec: NetworkSpec,
    config: TrainingConfig,
    checkpoint: Checkpoint,
    inputs: Mapping[str, str],
) -> None:
    """Write a checkpoint; the previous one stays until the new one is complete.

    `inputs` are hashes of what a run depends on beside its settings: its images, its teacher.

    Raises `OSError` where it cannot be written, for want of space on the disk for instance.
    """
    document = {
        "version": VERSION,
        "spec_digest": spec.digest(),
        "config": asdict(config),
        "inputs": dict(inputs),
        "epoch": checkpoint.position.epoch,
        "step": checkpoint.position.step,
        "sums": list(checkpoint.position.sums),
        "steps": checkpoint.steps,
        "model": checkpoint.model,
        "average": checkpoint.average,
        "optimizer": checkpoint.optimizer,
        "scaler": checkpoint.scaler,
        "log": checkpoint.log,
        "best": checkpoint.best,
        "random": checkpoint.random,
    }
    with write_atomically(path) as temporary:
        # By way of memory: torch's own writing hides a full disk behind an internal error.
        buffer = io.BytesIO()
        torch.save(document, buffer)
        temporary.write_bytes(buffer.getbuffer())


def load_checkpoint(
    path: Path, spec: NetworkSpec, config: TrainingConfig, inputs: Mapping[str, str]
) -> Checkpoint:
    """Read a checkpoint of this network, these settings and these inputs.

    Raises `CheckpointError` when the file is missing, damaged, of another network, or was made with
    other settings or inputs (the message names them). Nothing in the file is executed.
    """
    try:
        _check_sums(path)
        document = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise CheckpointError(f"{path}: no checkpoint to resume from") from None
    except OSError as error:
        raise CheckpointError(f"{path}: cannot read the checkpoint: {error.strerror}") from error
    except Exception as error:
        # A damaged file can make the unpickler fail in any way.
        raise CheckpointError(f"{path}: damaged checkpoint ({type(error).__name__})") from error
    try:
        if document["version"] != VERSION:
            raise CheckpointError(f"{path}: checkpoint version {document['version']} is unknown")
        if document["spec_digest"] != spec.digest():
            raise CheckpointError(f"{path}: the checkpoint belongs to another cfg")
        made_with = BEFORE | document["config"]
        other = {k: v for k, v in config.decisive().items() if made_with.get(k) != v}
        if other:
            was = {name: made_with.get(name) for name in other}
            raise CheckpointError(f"{path}: made with {was}, now {other}: cannot be resumed")
        were = document["inputs"]
        changed = [n for n in {**were, **inputs} if were.get(n) != inputs.get(n)]
        if changed:
            raise CheckpointError(
                f"{path}: made with another {' and another '.join(changed)}: cannot be resumed"
            )
        position = Position(
            epoch=document["epoch"], step=document["step"], sums=tuple(document["sums"])
        )
        return Checkpoint(
            position=position,
            steps=document["steps"],
            model=document["model"],
            average=document["average"],
            optimizer=document["optimizer"],
            scaler=document["scaler"],
            log=document["log"],
            best=document["best"],
            random=document["random"],
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{path}: not a checkpoint of this program ({error!r})") from error


def _check_sums(path: Path) -> None:
    """Raise `zipfile.BadZipFile` where the checksums do not fit: torch does not look at them."""
    with zipfile.ZipFile(path) as archive:
        damaged = archive.testzip()
    if damaged is not None:
        raise zipfile.BadZipFile(damaged)
