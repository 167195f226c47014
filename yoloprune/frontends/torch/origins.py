"""Which tensor of a module each array of its graph is, or a rearranged copy of."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from yoloprune.errors import GraphError
from yoloprune.frontends.onnx.protos import array_of, attributes_of, constant_of, operator_name
from yoloprune.graph.edits import ArrayCut
from yoloprune.graph.graph import Graph, Node
from yoloprune.graph.operators.operator import Family
from yoloprune.graph.operators.table import OPERATORS
from yoloprune.graph.shapes import shapes_of, worked_out

if TYPE_CHECKING:
    import onnx


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Origin:
    """The tensor that an array is a copy of.

    `places`, of the array's shape, are where its numbers stand in the tensor, in memory order; None
    where they stand alike.
    """

    tensor: str
    places: NDArray[np.int64] | None = None

    def cut(self, cut: ArrayCut, shape: tuple[int, ...]) -> ArrayCut | None:
        """What of the tensor, of this shape, stays with an array's; None for no rectangle."""
        if self.places is None:
            return cut
        kept = cut.numbers(self.places).reshape(-1)
        # Marked, not sorted: there may be millions.
        axes = [
            np.flatnonzero(np.bincount(own, minlength=size))
            for own, size in zip(np.unravel_index(kept, shape), shape, strict=True)
        ]
        if int(np.prod([len(own) for own in axes])) != len(kept):
            return None
        left = {axis: own for axis, own in enumerate(axes) if len(own) < shape[axis]}
        return ArrayCut(blocks=(left,))

    def after(self, cut: ArrayCut | None) -> "Origin":
        """The same of what a cut of the array leaves of both."""
        if self.places is None or cut is None:
            return self
        kept = cut.numbers(self.places)
        there = np.zeros(self.places.size, np.int64)
        there[kept] = 1
        return Origin(tensor=self.tensor, places=(np.cumsum(there) - 1)[kept])

    def read(self, tensor: Tensor) -> Tensor:
        """The array, as the tensor has its numbers."""
        tensor = tensor.detach().cpu()
        return tensor if self.places is None else tensor.reshape(-1)[torch.from_numpy(self.places)]

    def written(self, array: Tensor, like: Tensor) -> Tensor:
        """The array's numbers where they stand in the tensor, as one of its dtype and device."""
        array = array.detach().to(like)
        if self.places is None:
            return array.clone()
        flat = torch.empty_like(like).reshape(-1)
        flat[torch.from_numpy(self.places.reshape(-1)).to(like.device)] = array.reshape(-1)
        return flat.reshape(like.shape)


def named_tensors(module: nn.Module) -> dict[str, Tensor]:
    """Parameters, buffers and plain tensors of a module, by the first name of each.

    Those that are not registered are named as if they were.
    """
    # One walk for all: each takes as long as running some modules does.
    modules = [(f"{path}." if path else "", own) for path, own in module.named_modules()]
    found: dict[str, Tensor] = {}
    seen: set[int] = set()
    for registered in ("_parameters", "_buffers"):
        for prefix, own in modules:
            for name, tensor in getattr(own, registered).items():
                if tensor is not None and id(tensor) not in seen:
                    seen.add(id(tensor))
                    found.setdefault(prefix + name, tensor)
    for prefix, own in modules:
        for name, value in vars(own).items():
            if isinstance(value, Tensor):
                found.setdefault(prefix + name, value)
    return found


def origins(model: "onnx.ModelProto", graph: Graph, module: nn.Module) -> dict[str, Origin]:
    """The origin of each array of a graph that a module's tensor tells, by the array's name."""
    tensors = named_tensors(module)
    first = {id(tensor): name for name, tensor in reversed(tensors.items())}
    names = {
        name: first[id(tensor)]
        for own in (module.named_parameters, module.named_buffers)
        for name, tensor in own(remove_duplicate=False)
    }
    held = {own.name: own for own in model.graph.initializer}
    found: dict[str, Origin] = {}
    for name, proto in held.items():
        own = names.get(name)
        if own is not None and tuple(proto.dims) == tuple(tensors[own].shape):
            found[name] = Origin(tensor=own)
    first_read = {*found}
    _follow(model, graph, found, {name: tuple(t.shape) for name, t in tensors.items()})
    for name in found.keys() & graph.constants.keys() - first_read:
        # Converted, it is no copy.
        if graph.constants[name].dtype.name != str(tensors[found[name].tensor].dtype)[6:]:
            del found[name]
    plain = {name: tensor for name, tensor in tensors.items() if name not in names}
    for name, array in graph.constants.items():
        # What is not registered the exporter gives a name of its own.
        if name not in found and array.ndim and name in held:
            same = (own for own, tensor in plain.items() if _equal(tensor, array))
            if (match := next(same, None)) is not None:
                found[name] = Origin(tensor=match)
    return {name: own for name, own in found.items() if name in graph.constants}


def _equal(tensor: Tensor, array: NDArray[Any]) -> bool:
    if tuple(tensor.shape) != array.shape or tensor.dtype == torch.bfloat16:
        return False
    return bool(np.array_equal(tensor.detach().cpu().numpy(), array))


def _follow(
    model: "onnx.ModelProto",
    graph: Graph,
    found: dict[str, Origin],
    shapes: Mapping[str, tuple[int, ...]],
) -> None:
    """Add what nodes that are no longer in a graph made of arrays by moving their numbers."""
    kept = {name for node in graph.nodes for name in node.outputs}
    known = {
        own.name: array_of(own, Path()) for own in model.graph.initializer if own.name not in found
    }
    places: dict[str, NDArray[np.int64]] = {}
    for proto in model.graph.node:
        operator = operator_name(proto)
        if operator == "Constant":
            known[proto.output[0]] = constant_of(proto, Path())
        if not proto.input or kept.intersection(proto.output):
            continue
        source = proto.input[0]
        if operator in _SAME and source in found:
            found[proto.output[0]] = found[source]
            if source in places:
                places[proto.output[0]] = places[source]
            continue
        if source in found and source not in places:
            shape = shapes[found[source].tensor]
            places[source] = np.arange(int(np.prod(shape))).reshape(shape)
        node = Node(
            name=proto.name or proto.output[0],
            operator=operator,
            inputs=tuple(proto.input),
            outputs=tuple(proto.output),
            attributes=attributes_of(proto),
        )
        made = _made(node, {**known, source: places.get(source, known.get(source))}, graph.opset)
        if source not in found:
            known |= made
        elif (row := OPERATORS.get(operator)) is not None and row.family is Family.MOVE:
            for name, own in made.items():
                if own.size == places[source].size and _all_there(own):
                    places[name] = own
                    found[name] = Origin(tensor=found[source].tensor, places=own)


def _all_there(numbers: NDArray[np.int64]) -> bool:
    """Whether as many whole numbers, from 0 on, are all different; sorting them takes seconds."""
    seen = np.zeros(numbers.size, np.bool_)
    seen[numbers] = True
    return bool(seen.all())


def _made(
    node: Node, known: Mapping[str, NDArray[Any] | None], opset: int
) -> dict[str, NDArray[Any]]:
    """The arrays that a node makes of known ones, none larger than all that it reads."""
    read = [known.get(name) for name in node.inputs]
    if any(own is None for name, own in zip(node.inputs, read, strict=True) if name):
        return {}
    try:
        sizes = shapes_of(node, [None if a is None else a.shape for a in read], read, opset)
    except GraphError:
        return {}
    most = max(_SMALL, sum(own.size for own in read if own is not None))
    return worked_out(node, sizes, read, opset, most)


_SAME = frozenset({"Cast", "CastLike", "Identity"})
"""Operators that leave numbers where they are."""

_SMALL = 64
"""Entries of sizes and axes that may be worked out."""
