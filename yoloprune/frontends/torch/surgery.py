"""What surgery does to a module: which entries of its tensors stay, and what its sizes become."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn

from yoloprune.errors import UsageError
from yoloprune.frontends.torch.origins import named_tensors
from yoloprune.graph.edits import ArrayCut

Size: TypeAlias = int | tuple[int, ...]
"""What a module keeps as an attribute: a number, or several."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorCut:
    """What stays of a tensor of the shape `before`: as `ArrayCut` says, in plain numbers."""

    before: tuple[int, ...]
    blocks: tuple[dict[int, tuple[int, ...]], ...]

    def __post_init__(self) -> None:
        # It may come from a file.
        if not self._fits():
            raise UsageError(f"no tensor of the shape {self.before} can be cut like this")

    def _fits(self) -> bool:
        if not self.before or not self.blocks or self.before[0] % len(self.blocks):
            return False
        sizes = (self.before[0] // len(self.blocks), *self.before[1:])
        lengths = set()
        for block in self.blocks:
            lengths.add(tuple(sorted((axis, len(kept)) for axis, kept in block.items() if axis)))
            for axis, kept in block.items():
                if not 0 <= axis < len(sizes) or any(a >= b for a, b in pairwise(kept)):
                    return False
                if kept and not 0 <= kept[0] <= kept[-1] < sizes[axis]:
                    return False
        # Blocks are joined again along the first axis.
        return len(lengths) == 1

    @property
    def array(self) -> ArrayCut:
        """The same as surgery takes it."""
        blocks = ({a: np.array(kept, np.int64) for a, kept in own.items()} for own in self.blocks)
        return ArrayCut(blocks=tuple(blocks))


def tensor_cut(cut: ArrayCut, before: Sequence[int]) -> TensorCut:
    """A cut in plain numbers."""
    blocks = ({axis: tuple(kept.tolist()) for axis, kept in own.items()} for own in cut.blocks)
    return TensorCut(before=tuple(before), blocks=tuple(blocks))


@dataclass(frozen=True, slots=True, kw_only=True)
class Surgery:
    """What one pruning does to a module; `tensors` by name, `sizes` by module and attribute."""

    tensors: dict[str, TensorCut] = field(default_factory=dict)
    sizes: dict[str, dict[str, Size]] = field(default_factory=dict)


def operate(
    module: nn.Module, surgery: Surgery, optimizer: torch.optim.Optimizer | None = None
) -> None:
    """Slice a module's tensors, and what an optimizer holds of them, and set its sizes; in place.

    A parameter that loses entries becomes another one, which takes its place wherever the module
    has it, and in the optimizer. Raises `UsageError`, before anything is changed, for another
    module.
    """
    tensors = named_tensors(module)
    _check(module, tensors, surgery)
    if optimizer is not None:
        _check_state(optimizer, tensors, surgery)
    replaced = {
        id(tensors[name]): (tensors[name], _sliced(tensors[name], own.array))
        for name, own in surgery.tensors.items()
    }
    if optimizer is not None:
        _operate_on(optimizer, {name: tensors[name] for name in surgery.tensors}, surgery, replaced)
    _replace(module, lambda tensor: replaced[id(tensor)][1] if id(tensor) in replaced else tensor)
    for path, sizes in surgery.sizes.items():
        own = module.get_submodule(path)
        for name, size in sizes.items():
            listed = isinstance(getattr(own, name), list)
            setattr(own, name, list(size) if listed and isinstance(size, tuple) else size)


def _check(module: nn.Module, tensors: Mapping[str, Tensor], surgery: Surgery) -> None:
    for name, own in surgery.tensors.items():
        shape = tuple(tensors[name].shape) if name in tensors else None
        if shape != own.before:
            found = "not there" if shape is None else f"{shape}"
            raise UsageError(
                f"{type(module).__name__}: its {name} is {found}, and the plan was made of "
                f"{own.before}: give the module that was pruned, or a copy of it"
            )
    modules = dict(module.named_modules())
    for path, sizes in surgery.sizes.items():
        held = vars(modules[path]) if path in modules else {}
        for name, size in sizes.items():
            if not _is_size(held.get(name), size):
                raise UsageError(
                    f"{type(module).__name__}: it has no size {path}.{name}, which the plan sets "
                    f"to {size}: give the module that was pruned, or a copy of it"
                )


def _is_size(value: object, size: Size) -> bool:
    """Whether a value is what this size may stand in place of."""
    several, new = isinstance(value, list | tuple), isinstance(size, tuple)
    if several != new:
        return False
    before, after = (own if isinstance(own, list | tuple) else (own,) for own in (value, size))
    return len(before) == len(after) and all(
        isinstance(own, int) and not isinstance(own, bool) and own >= 0 for own in (*before, *after)
    )


def _sliced(tensor: Tensor, cut: ArrayCut) -> Tensor:
    """What stays of a tensor, as one of the same kind, whose gradients have not begun."""
    left = cut.tensor(tensor.detach()).contiguous()
    if isinstance(tensor, nn.Parameter):
        return nn.Parameter(left, requires_grad=tensor.requires_grad)
    return left


def _replace(module: nn.Module, instead: Callable[[Tensor], Tensor]) -> None:
    for own in module.modules():
        places: tuple[dict[str, Any], ...] = (own._parameters, own._buffers, vars(own))
        for held in places:
            for name, value in held.items():
                if isinstance(value, Tensor):
                    held[name] = instead(value)


def _operate_on(
    optimizer: torch.optim.Optimizer,
    tensors: Mapping[str, Tensor],
    surgery: Surgery,
    replaced: Mapping[int, tuple[Tensor, Tensor]],
) -> None:
    """Give an optimizer the new parameters, and slice what it has gathered of the old ones."""
    for group in optimizer.param_groups:
        group["params"] = [
            replaced[id(own)][1] if id(own) in replaced else own for own in group["params"]
        ]
    for name, tensor in tensors.items():
        if tensor not in optimizer.state:
            continue
        cut = surgery.tensors[name].array
        state: dict[str, Any] = optimizer.state.pop(tensor)
        optimizer.state[replaced[id(tensor)][1]] = {
            key: cut.tensor(value) if _alike(value, tensor) else value
            for key, value in state.items()
        }


def _alike(value: object, tensor: Tensor) -> bool:
    return isinstance(value, Tensor) and value.shape == tensor.shape


def _check_state(
    optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor], surgery: Surgery
) -> None:
    """Raise `UsageError` for an optimizer that keeps what cannot be sliced with a parameter."""
    if isinstance(optimizer, torch.optim.LBFGS):
        # It holds its parameters in a list of its own, and its state by the first of them alone.
        raise UsageError(
            "LBFGS cannot go on with other parameters: make it anew of the slim module"
        )
    known = {id(own) for group in optimizer.param_groups for own in group["params"]}
    if not known & {id(own) for own in tensors.values()}:
        raise UsageError(
            f"{type(optimizer).__name__}: no parameter of the module is one of its own: give the "
            "optimizer that trains this module"
        )
    for name in surgery.tensors:
        for key, value in optimizer.state.get(tensors[name], {}).items():
            if isinstance(value, Tensor) and value.numel() > 1 and not _alike(value, tensors[name]):
                raise UsageError(
                    f"{type(optimizer).__name__} keeps a {key} of {tuple(value.shape)} of {name}, "
                    "which does not go by its entries: make the optimizer anew of the slim module"
                )
