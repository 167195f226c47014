"""Whether a module is what surgery was planned for: all is looked at before anything changes."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from itertools import combinations
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from yoloprune.errors import UsageError
from yoloprune.frontends.torch.layers import layer_sizes
from yoloprune.frontends.torch.origins import named_tensors
from yoloprune.frontends.torch.surgery import Size, Surgery


def check(
    module: nn.Module,
    surgeries: Sequence[Surgery],
    numbers: Mapping[str, Tensor] = MappingProxyType({}),
    optimizers: Sequence[torch.optim.Optimizer] = (),
) -> None:
    """Raise `UsageError` unless a module can have these surgeries, one after the other.

    And then these `numbers`, by the names of its tensors; `optimizers` must be some that train
    it, and keep of a parameter what goes by its entries.
    """
    title, tensors = type(module).__name__, named_tensors(module)
    if lazy := [name for name, own in tensors.items() if is_lazy(own)]:
        raise UsageError(f"{title}: its {lazy[0]} has no shape yet: call the module once before")
    shapes = {name: tuple(own.shape) for name, own in tensors.items()}
    held = {path: dict(vars(own)) for path, own in module.named_modules()}
    for own in surgeries:
        _check_shapes(title, shapes, {name: cut.before for name, cut in own.tensors.items()})
        _check_sizes(title, held, own)
        shapes |= {name: cut.after for name, cut in own.tensors.items()}
        for path, sizes in own.sizes.items():
            held[path] |= sizes
        _check_layers(module, held, own, shapes)
    _check_shapes(title, shapes, {name: tuple(own.shape) for name, own in numbers.items()})
    names = {name for own in surgeries for name in own.tensors}
    _check_followed(title, {name: tensors[name] for name in names})
    check_alone(title, tensors, names)
    for optimizer in optimizers:
        _check_state(optimizer, tensors, names)


def _check_shapes(
    title: str,
    shapes: Mapping[str, tuple[int, ...]],
    wanted: Mapping[str, tuple[int, ...]],
) -> None:
    for name, shape in wanted.items():
        if shapes.get(name) != shape:
            raise UsageError(
                f"{title}: its {name} is {shapes.get(name, 'not there')}, and the plan was made of "
                f"{shape}: give the module that was pruned, or a copy of it (called once, if its "
                "first call makes that)"
            )


def _check_sizes(title: str, held: Mapping[str, Mapping[str, Any]], surgery: Surgery) -> None:
    for path, sizes in surgery.sizes.items():
        for name, size in sizes.items():
            value = held.get(path, {}).get(name)
            if not _is_size(value, size):
                raise UsageError(
                    f"{title}: it has no size {path}.{name}, which the plan sets to {size}: give "
                    "the module that was pruned, or a copy of it"
                )
            if not all(new == old or 0 < new < old for old, new in _pairs(value, size)):
                raise UsageError(
                    f"{title}: its size {path}.{name} is {value}, and the plan sets it to {size}, "
                    "which no pruning does"
                )


def _is_size(value: object, size: Size) -> bool:
    """Whether a value is what a size may stand in place of."""
    if isinstance(value, list | tuple) and isinstance(size, tuple):
        if len(value) != len(size):
            return False
    elif isinstance(value, list | tuple) or isinstance(size, tuple):
        return False
    return all(
        isinstance(own, int) and not isinstance(own, bool) and own >= 0
        for pair in _pairs(value, size)
        for own in pair
    )


def _pairs(value: Any, size: Size) -> list[tuple[Any, Any]]:
    return list(zip(value, size, strict=True)) if isinstance(size, tuple) else [(value, size)]


def _check_layers(
    module: nn.Module,
    held: Mapping[str, Mapping[str, Any]],
    surgery: Surgery,
    shapes: Mapping[str, tuple[int, ...]],
) -> None:
    """Raise `UsageError` where layers of torch's own would say something else than their tensors.

    `held` is what modules hold after surgery, and `shapes` are those of their tensors.
    """
    first = {id(own): name for name, own in named_tensors(module).items()}
    for path, own in module.named_modules():
        names = {
            name: first[id(tensor)]
            for name, tensor in (*own._parameters.items(), *own._buffers.items())
            if tensor is not None
        }
        if path not in surgery.sizes and not surgery.tensors.keys() & names.values():
            continue
        left = {name: shapes[whole] for name, whole in names.items()}
        for name, size in layer_sizes(own, left, held[path].get("groups", 1)).items():
            if held[path][name] != size:
                raise UsageError(
                    f"{type(module).__name__}: the plan leaves {path}.{name} at "
                    f"{held[path][name]}, and tensors of {size}: it is damaged"
                )


def _check_followed(title: str, tensors: Mapping[str, Tensor]) -> None:
    """Raise `UsageError` for what is kept of tensors that others replace, and cannot follow."""
    for name, own in tensors.items():
        if own._backward_hooks or own._post_accumulate_grad_hooks:
            raise UsageError(
                f"{title}: its {name} has hooks, which would stay with the parameter that another "
                "replaces: remove them before, and register them anew afterwards"
            )
        _check_entries(f"{title}: its {name}", "", vars(own), own)


def check_alone(title: str, tensors: Mapping[str, Tensor], names: Collection[str]) -> None:
    """Raise `UsageError` where a parameter shares memory with another tensor, one of these names.

    Slicing would part them. What is one tensor of several names is none of those.
    """
    spans = defaultdict(list)
    for name, own in tensors.items():
        if own.numel() and own.layout == torch.strided and own.device.type != "meta":
            reach = sum((n - 1) * step for n, step in zip(own.shape, own.stride(), strict=True))
            start = own.data_ptr()
            span = (name, start, start + (reach + 1) * own.element_size())
            spans[own.untyped_storage().data_ptr()].append(span)
    for those in spans.values():
        for (one, begin, end), (other, start, stop) in combinations(those, 2):
            trained = any(isinstance(tensors[own], nn.Parameter) for own in (one, other))
            if trained and begin < stop and start < end and (one in names or other in names):
                raise UsageError(
                    f"{title}: {one} and {other} are two tensors of the same memory, which pruning "
                    "would part: make them one, as by `b.weight = a.weight`"
                )


def alike(value: object, tensor: Tensor) -> bool:
    """Whether a value goes by a tensor's entries."""
    return isinstance(value, Tensor) and value.shape == tensor.shape


def _check_entries(
    whose: str, of: str, values: Mapping[str, Any], tensor: Tensor, then: str = ""
) -> None:
    """Raise `UsageError` for tensors among what is kept of a tensor that do not go by entries."""
    for key, value in values.items():
        if isinstance(value, Tensor) and value.numel() > 1 and not alike(value, tensor):
            raise UsageError(
                f"{whose} keeps a {key} of {tuple(value.shape)}{of}, which does not go by its "
                f"entries{then}"
            )


def _check_state(
    optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor], names: Collection[str]
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
    for name in names:
        _check_entries(
            type(optimizer).__name__,
            f" of {name}",
            optimizer.state.get(tensors[name], {}),
            tensors[name],
            ": make the optimizer anew of the slim module",
        )
