"""Slim modules on disk: a plan in JSON, and tensors that no program is run to read.

`slim.json` says what every pruning did to the module as it is defined, `slim.safetensors` holds the
module's state.
"""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from yoloprune.documents import read_document
from yoloprune.errors import MissingDependencyError, PlanError, UsageError, WeightsError
from yoloprune.escapes import printable
from yoloprune.files import plain_size, write_atomically, write_json
from yoloprune.frontends.onnx.protos import first_line
from yoloprune.frontends.torch.operate import operate
from yoloprune.frontends.torch.origins import named_tensors
from yoloprune.frontends.torch.surgery import Surgery

SUFFIX = ".safetensors"


@dataclass(frozen=True, slots=True, kw_only=True)
class _File:
    """What is written beside the tensors."""

    version: Literal[1]
    module: str
    surgeries: tuple[Surgery, ...]


def write_module(module: nn.Module, surgeries: Sequence[Surgery], path: Path) -> tuple[Path, ...]:
    """Write a module's state as `path`, and what was done to it beside; gives both, tensors last.

    Raises `UsageError` for a path that is no .safetensors, and a state that holds more than
    tensors.
    """
    _check(path)
    held = module.state_dict()
    if odd := [name for name, value in held.items() if not isinstance(value, Tensor)]:
        raise UsageError(
            f"{type(module).__name__}: its state holds {', '.join(odd[:5])}, which is no tensor "
            "and would need pickle: save that yourself, and leave it out of the state"
        )
    state = {
        # A copy of each: tensors that share memory are refused.
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, tensor in held.items()
    }
    data = _safetensors().save(state)
    plan = path.with_suffix(".json")
    with write_atomically(path) as temporary:
        temporary.write_bytes(data)
        document = _File(version=1, module=type(module).__name__, surgeries=tuple(surgeries))
        write_json(plan, asdict(document))
    return plan, path


def read_module(definition: nn.Module, path: Path) -> tuple[Surgery, ...]:
    """Make of a dense module, in place, the slim one that was written as `path`.

    Gives what was done to it. Raises `PlanError` or `WeightsError` for files that are damaged or
    of another module, which stays as it was, and `UsageError` for one on the meta device.
    """
    surgeries, state = read_saved(path)
    if any(own.is_meta for own in named_tensors(definition).values()):
        raise UsageError(
            f"{type(definition).__name__}: the definition is on the meta device, which holds no "
            "numbers: define it on another"
        )
    for module in (deepcopy(definition), definition):
        for surgery in surgeries:
            try:
                operate(module, surgery)
            except UsageError as error:
                raise PlanError(
                    f"{path.with_suffix('.json')}: {_line(error)} (what is saved after a second "
                    "pruning needs the first cut, too, as `before`)"
                ) from error
        load_state(module, state, path)
    return surgeries


def read_saved(path: Path) -> tuple[tuple[Surgery, ...], Mapping[str, Tensor]]:
    """What was done to a module that was written as `path`, and its state.

    Raises `PlanError` or `WeightsError` for files that are damaged.
    """
    _check(path)
    plan = path.with_suffix(".json")
    return read_document(plan, _File, fault=PlanError).surgeries, _state(path)


def load_state(module: nn.Module, state: Mapping[str, Tensor], path: Path) -> None:
    """Load a state that was read from `path`; raises `WeightsError` unless it is the module's."""
    try:
        module.load_state_dict(state)
    except RuntimeError as error:
        raise WeightsError(f"{path}: not the state of this module: {_line(error)}") from error


def _state(path: Path) -> Mapping[str, Tensor]:
    load = _safetensors().load
    try:
        plain_size(path)
        found: dict[str, Tensor] = load(path.read_bytes())
    except OSError as error:
        raise WeightsError(f"{path}: {error.strerror}") from error
    except Exception as error:
        # safetensors has an exception of its own, and torch others for odd dtypes.
        raise WeightsError(f"{path}: damaged: {first_line(error)}") from error
    return found


def _safetensors() -> Any:
    try:
        import safetensors.torch
    except ImportError as error:
        raise MissingDependencyError(
            f"modules need the package {error.name}: pip install 'yoloprune[modules]'"
        ) from error
    return safetensors.torch


def _line(error: Exception) -> str:
    return printable(" ".join(str(error).split()))[:300]


def _check(path: Path) -> None:
    if path.suffix.lower() != SUFFIX:
        raise UsageError(f"{path}: a module is written as a {SUFFIX}: name one")
