"""One file that holds everything a run needs to go on, written whole or not at all."""

import io
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from yoloprune.documents import fitted
from yoloprune.errors import CheckpointError
from yoloprune.files import plain_size, write_atomically
from yoloprune.graph.model import Model
from yoloprune.training.config import TrainingConfig
from yoloprune.training.run_folder import check_log

VERSION = 4

BEFORE = {"protocol": "case-study"}
"""What runs did before there was a setting for it."""

_OPTIMIZER_STATE = {"sgd": {"momentum_buffer"}, "adamw": {"step", "exp_avg", "exp_avg_sq"}}
"""What an optimizer keeps of a parameter, by its name in the settings."""

_COPIES = 6
"""Networks that a checkpoint holds at most, with some room: model, average, two of AdamW."""

_REST = 4 << 20
"""Bytes of everything else."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """Where a run is: `step` steps of epoch `epoch` are done, with these sums of their losses."""

    epoch: int
    step: int
    sums: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Checkpoint:
    """A run between two steps.

    `model`, `average` (EMA) and `scaler` (of float16 gradients) are state dicts, `optimizer` holds
    what its own does for each parameter; `log` the finished epochs' lines; `best` the best mAP so
    far; `steps` all optimizer steps so far; `random` torch's generator.
    """

    position: Position
    steps: int
    model: dict[str, Any]
    average: dict[str, Any]
    optimizer: dict[int, dict[str, torch.Tensor]]
    scaler: dict[str, Any]
    log: list[dict[str, Any]]
    best: float
    random: torch.Tensor

    def check(
        self,
        network: Mapping[str, torch.Tensor],
        parameters: Sequence[torch.Tensor],
        config: TrainingConfig,
        steps_per_epoch: int,
        *,
        scaled: bool,
    ) -> None:
        """Raise `ValueError` for a part that no run of this network and these settings writes.

        `network` is its state dict, `parameters` are in the optimizer's order; `scaled` says
        whether gradients are.
        """
        for title, found in (("model", self.model), ("average", self.average)):
            if found.keys() != network.keys():
                raise ValueError(f"{title} is of another network")
            for name, tensor in network.items():
                _check_tensor(f"{title}.{name}", found[name], tensor)
        for index, state in self.optimizer.items():
            known = index in range(len(parameters))
            if not known or (state and state.keys() != _OPTIMIZER_STATE[config.optimizer]):
                raise ValueError(f"optimizer.{index} is of another optimizer")
            for name, value in state.items():
                expected = torch.zeros(()) if name == "step" else parameters[index]
                _check_tensor(f"optimizer.{index}.{name}", value, expected)
        _check_tensor("random", self.random, torch.get_rng_state())
        if scaled:
            fitted(self.scaler, _Scaler)
        epoch, step = self.position.epoch, self.position.step
        if (
            not (0 <= epoch <= config.epochs and 0 <= step <= steps_per_epoch and self.steps >= 0)
            or len(self.log) != epoch
        ):
            raise ValueError("its epoch, step and log contradict each other")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Scaler:
    """State of the scaler of float16 gradients."""

    scale: float
    growth_factor: float
    backoff_factor: float
    growth_interval: int
    _growth_tracker: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Optimizer:
    """What is read of an optimizer's state dict: its groups follow from the settings."""

    state: dict[int, dict[str, torch.Tensor]]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Stored:
    """The content of the file."""

    version: Literal[4]
    spec_digest: str
    config: dict[str, Any]
    inputs: dict[str, str]
    epoch: int
    step: int
    sums: tuple[float, float, float, float]
    steps: int
    model: dict[str, torch.Tensor]
    average: dict[str, torch.Tensor]
    optimizer: _Optimizer
    scaler: dict[str, Any]
    log: list[dict[str, Any]]
    best: float
    random: torch.Tensor


def save_checkpoint(
    path: Path,
    network: Model,
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
        "spec_digest": network.document.digest(),
        "config": asdict(config),
        "inputs": dict(inputs),
        "epoch": checkpoint.position.epoch,
        "step": checkpoint.position.step,
        "sums": list(checkpoint.position.sums),
        "steps": checkpoint.steps,
        "model": checkpoint.model,
        "average": checkpoint.average,
        "optimizer": {"state": checkpoint.optimizer},
        "scaler": checkpoint.scaler,
        "log": checkpoint.log,
        "best": checkpoint.best,
        "random": checkpoint.random,
    }
    write_stored(path, document)


def write_stored(path: Path, document: dict[str, Any]) -> None:
    """Write what `read_stored` reads; the previous file stays until the new one is complete.

    Raises `OSError` where it cannot be written, for want of space on the disk for instance.
    """
    with write_atomically(path) as temporary:
        # By way of memory: torch's own writing hides a full disk behind an internal error.
        buffer = io.BytesIO()
        torch.save(document, buffer)
        temporary.write_bytes(buffer.getbuffer())


def read_stored(path: Path, weight_bytes: int) -> dict[str, Any]:
    """The content of a checkpoint of a network whose numbers take so many bytes.

    Raises `CheckpointError` when the file is missing, larger than such a checkpoint, or damaged.
    Nothing in the file is executed.
    """
    try:
        _check_file(path, _COPIES * weight_bytes + _REST)
        document: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise CheckpointError(f"{path}: no checkpoint to resume from: start anew") from None
    except OSError as error:
        raise CheckpointError(f"{path}: cannot read the checkpoint: {error.strerror}") from error
    except Exception as error:
        # A damaged file can make the unpickler fail in any way.
        raise CheckpointError(f"{path}: damaged checkpoint ({type(error).__name__})") from error
    return document


def load_checkpoint(
    path: Path, network: Model, config: TrainingConfig, inputs: Mapping[str, str]
) -> Checkpoint:
    """Read a checkpoint of this network, these settings and these inputs.

    Raises `CheckpointError` when the file is missing, damaged, of another network, or was made with
    other settings or inputs (the message names them). Nothing in the file is executed.
    """
    document = read_stored(path, network.cost.weight_bytes)
    try:
        stored = fitted(document, _Stored)
        check_log(stored.log)
    except ValueError as error:
        raise CheckpointError(f"{path}: damaged, or of another version: {error}") from None
    if stored.spec_digest != network.document.digest():
        raise CheckpointError(f"{path}: the checkpoint belongs to another cfg")
    made_with = BEFORE | stored.config
    other = {k: v for k, v in config.decisive().items() if made_with.get(k) != v}
    if other:
        changes = ", ".join(
            f"{name} {made_with.get(name)!s:.40}, now {value}" for name, value in other.items()
        )
        raise CheckpointError(f"{path}: cannot be resumed with other settings ({changes:.400})")
    changed = [n for n in {**stored.inputs, **inputs} if stored.inputs.get(n) != inputs.get(n)]
    if changed:
        raise CheckpointError(
            f"{path}: made with another {' and another '.join(changed)}: cannot be resumed"
        )
    return Checkpoint(
        position=Position(epoch=stored.epoch, step=stored.step, sums=stored.sums),
        steps=stored.steps,
        model=stored.model,
        average=stored.average,
        optimizer=stored.optimizer.state,
        scaler=stored.scaler,
        log=stored.log,
        best=stored.best,
        random=stored.random,
    )


def _check_tensor(name: str, found: torch.Tensor, expected: torch.Tensor) -> None:
    """Raise `ValueError` unless a tensor is plain, and of the shape and type of another."""
    if (
        type(found) is not torch.Tensor
        or found.layout is not torch.strided
        or found.device.type != "cpu"
        or (found.shape, found.dtype) != (expected.shape, expected.dtype)
    ):
        raise ValueError(f"{name} must be {expected.dtype} of {list(expected.shape)}")


def _check_file(path: Path, at_most: int) -> None:
    """Raise unless the file is whole and of a sensible size.

    torch looks at no checksum, and would unpack whatever is packed.
    """
    if plain_size(path) > at_most:
        raise zipfile.LargeZipFile
    with zipfile.ZipFile(path) as archive:
        for part in archive.infolist():
            pickled = part.filename.endswith(".pkl")
            if part.compress_type != zipfile.ZIP_STORED or (pickled and part.file_size > _REST):
                raise zipfile.BadZipFile(part.filename)
        if (damaged := archive.testzip()) is not None:
            raise zipfile.BadZipFile(damaged)
