"""Surgery on a module: its tensors, what an optimizer holds of them, and its sizes."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from yoloprune.frontends.torch.checks import alike, check
from yoloprune.frontends.torch.origins import named_tensors
from yoloprune.frontends.torch.surgery import Surgery
from yoloprune.graph.edits import ArrayCut

_Replaced: TypeAlias = Mapping[int, tuple[Tensor, Tensor]]
"""Tensors and what takes their place, by the id of the first."""


def operate(
    module: nn.Module, surgery: Surgery, optimizers: Sequence[torch.optim.Optimizer] = ()
) -> None:
    """Slice a module's tensors, and what optimizers hold of them, and set its sizes; in place.

    A parameter that loses entries becomes another one, which takes its place wherever the module
    has it, lists and dictionaries included, and in its optimizer. Raises `UsageError`, before
    anything is changed, for another module.
    """
    check(module, [surgery], optimizers=optimizers)
    tensors = named_tensors(module)
    replaced = {
        id(tensors[name]): (tensors[name], _sliced(tensors[name], own.array))
        for name, own in surgery.tensors.items()
    }
    for optimizer in optimizers:
        _operate_on(optimizer, {name: tensors[name] for name in surgery.tensors}, surgery, replaced)
    _replace(module, replaced)
    for path, sizes in surgery.sizes.items():
        own = module.get_submodule(path)
        for name, size in sizes.items():
            listed = isinstance(getattr(own, name), list)
            setattr(own, name, list(size) if listed and isinstance(size, tuple) else size)


def _sliced(tensor: Tensor, cut: ArrayCut) -> Tensor:
    """What stays of a tensor, as one of the same kind, whose gradients have not begun."""
    left = cut.tensor(tensor.detach()).contiguous()
    if isinstance(tensor, nn.Parameter):
        left = nn.Parameter(left, requires_grad=tensor.requires_grad)
    elif tensor.is_leaf:
        left.requires_grad_(tensor.requires_grad)
    vars(left).update(_followed(vars(tensor), tensor, cut))
    return left


def _followed(values: Mapping[str, Any], tensor: Tensor, cut: ArrayCut) -> dict[str, Any]:
    """What is kept of a tensor, sliced as it is where it has its shape."""
    return {
        key: cut.tensor(value) if alike(value, tensor) else value for key, value in values.items()
    }


def _replace(module: nn.Module, replaced: _Replaced) -> None:
    def instead(leaf: Any) -> Any:
        return replaced[id(leaf)][1] if id(leaf) in replaced else leaf

    for own in module.modules():
        places: tuple[dict[str, Any], ...] = (own._parameters, own._buffers, vars(own))
        for held in places:
            for name, value in held.items():
                if id(value) in replaced or (
                    # Most are empty, and to look through them all takes longer than the rest.
                    isinstance(value, list | tuple | dict)
                    and len(value)
                    and any(id(leaf) in replaced for leaf in pytree.tree_leaves(value))
                ):
                    held[name] = pytree.tree_map(instead, value)


def _operate_on(
    optimizer: torch.optim.Optimizer,
    tensors: Mapping[str, Tensor],
    surgery: Surgery,
    replaced: _Replaced,
) -> None:
    """Give an optimizer the new parameters, and slice what it has gathered of the old ones."""
    for group in optimizer.param_groups:
        group["params"] = [
            replaced[id(own)][1] if id(own) in replaced else own for own in group["params"]
        ]
    for name, tensor in tensors.items():
        if tensor in optimizer.state:
            state: dict[str, Any] = optimizer.state.pop(tensor)
            followed = _followed(state, tensor, surgery.tensors[name].array)
            optimizer.state[replaced[id(tensor)][1]] = followed
