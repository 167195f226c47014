"""A graph as a torch module: any dtype, any device, with gradients, to be trained or to be fast."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from yoloprune.errors import GraphError
from yoloprune.execution.fuse import folded, fused
from yoloprune.execution.run import freed, reads
from yoloprune.graph.graph import Graph, Node
from yoloprune.graph.operators.elementwise import BATCH_NORM_EPSILON
from yoloprune.graph.operators.operator import Compute, Tensors, given, number
from yoloprune.graph.operators.table import operator_of
from yoloprune.graph.operators.tensors import tensor_of

Observe: TypeAlias = Callable[[str, Tensor], Tensor]
"""From a value's name and the value to what stands in for it."""

_MOMENTUM = 0.1
"""Of the running statistics of batch norms, as torch has it."""

_TOLD = ("Resize", "Upsample")
"""Operators whose real inputs but the first say what to do: they keep their dtype and place."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Step:
    """A node ready to run; `free` are the values that nobody reads after it."""

    node: Node
    compute: Compute
    trained: Compute
    free: tuple[str, ...]


class Network(nn.Module):
    """A graph with its parameters (copies of them).

    All real numbers are in one dtype: that of the parameters unless another is named. Trained
    numbers are torch parameters; the running statistics of batch norms and whole numbers are
    buffers. It is made in evaluation mode; in training mode, batch norms take the statistics of the
    batch and update the running ones, and dropout drops, as torch's own modules do. `computes`
    names nodes, and what they compute instead in evaluation mode.
    """

    def __init__(
        self,
        graph: Graph,
        parameters: Mapping[str, Tensor],
        *,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
        computes: Mapping[str, Compute] = MappingProxyType({}),
    ) -> None:
        """Raises `GraphError` unless the parameters are those that the graph names."""
        super().__init__()
        self.graph = graph
        _check(graph, parameters)
        statistics = {
            name
            for node in graph.nodes
            if node.operator == "BatchNormalization"
            for name in node.inputs[3:5]
        }
        told = {name for node in graph.nodes if node.operator in _TOLD for name in node.inputs[1:]}
        self._arrays = nn.Module()
        self._told: dict[str, Tensor] = {}
        for name in graph.parameters:
            array = parameters[name].detach().clone()
            if array.is_floating_point() and name not in statistics:
                self._arrays.register_parameter(_slot(name), nn.Parameter(array))
            else:
                self._arrays.register_buffer(_slot(name), array)
        for name, constant in graph.constants.items():
            array = tensor_of(constant)
            # Single numbers go with tensors of any device and dtype.
            if array.is_floating_point() and array.dim() and name not in told:
                self._arrays.register_buffer(_slot(name), array, persistent=False)
            else:
                self._told[name] = array
        self._names = {_slot(name): name for name in (*graph.parameters, *graph.constants)}
        self._plain = _steps(graph, computes)
        self._fused = _steps(fused(graph), computes)
        self.to(dtype=dtype or _dtype(parameters.values()), device=device)
        self.eval()

    def forward(
        self,
        *inputs: Tensor,
        observe: Observe | None = None,
        arrays: Mapping[str, Tensor] = MappingProxyType({}),
    ) -> tuple[Tensor, ...]:
        """The graph's outputs, in order, from its inputs, in order.

        `observe`, where given, is shown every value that a node gives, and may replace it.
        `arrays` stand in for the parameters of their names.
        """
        values = dict(zip(self.graph.inputs, inputs, strict=True))
        values.update(self._told)
        for own in (self._arrays.named_parameters(), self._arrays.named_buffers()):
            values.update((self._names[slot], array) for slot, array in own)
        values.update(arrays)
        training = self.training
        for step in self._fused if observe is None else self._plain:
            node = step.node
            read = [values[name] if name else None for name in node.inputs]
            compute = step.trained if training else step.compute
            for name, value in zip(
                node.outputs, compute(node, read, self.graph.opset), strict=False
            ):
                if name:
                    values[name] = value if observe is None else observe(name, value)
            # Or the inputs would live on in it until the next node.
            del read
            for name in step.free:
                values.pop(name, None)
        return tuple(values[name] for name in self.graph.outputs)

    def state(self) -> dict[str, Tensor]:
        """Copies of all parameters, by the graph's names."""
        return {name: self.array(name).detach().clone() for name in self.graph.parameters}

    def load(self, parameters: Mapping[str, Tensor]) -> None:
        """Copy parameters in; those that are not named stay.

        Raises `GraphError` for names or shapes that the graph has not.
        """
        for name, array in parameters.items():
            if name not in self.graph.parameters:
                raise GraphError(f"the network has no parameter {name}")
            if (wanted := self.graph.parameters[name].shape) != array.shape:
                raise GraphError(f"the parameter {name} is {wanted}, not {tuple(array.shape)}")
        with torch.no_grad():
            for name, array in parameters.items():
                self.array(name).copy_(array)

    def for_inference(self) -> "Network":
        """A faster copy that computes, to rounding, what this one does in evaluation mode.

        Batch norms are folded into the convolutions that they follow, kernels lie in channels-last
        order, and nothing has gradients. Dtype and device stay.
        """
        with torch.no_grad():
            graph, parameters = folded(
                self.graph, {name: self.array(name) for name in self.graph.parameters}
            )
            copy = Network(graph, parameters)
            for name in graph.constants.keys() - copy._told.keys():
                copy._arrays.register_buffer(_slot(name), self.array(name), persistent=False)
        # mypy knows no overload of Module.to for a memory format alone.
        copy.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return copy.eval().requires_grad_(False)

    def array(self, name: str) -> Tensor:
        """The parameter itself, by the graph's name."""
        array: Tensor = getattr(self._arrays, _slot(name))
        return array


def _slot(name: str) -> str:
    """A name that torch lets an array have: without dots, and none of a module's own."""
    return "=" + name.replace("%", "%25").replace(".", "%2E")


def _dtype(arrays: Iterable[Tensor]) -> torch.dtype | None:
    return next((array.dtype for array in arrays if array.is_floating_point()), None)


def _check(graph: Graph, parameters: Mapping[str, Tensor]) -> None:
    wanted = {name: parameter.shape for name, parameter in graph.parameters.items()}
    found = {name: tuple(array.shape) for name, array in parameters.items()}
    if odd := sorted(n for n in wanted.keys() | found.keys() if wanted.get(n) != found.get(n)):
        raise GraphError(f"the parameters are not those of the graph: {', '.join(odd[:5])} differ")


def _steps(graph: Graph, computes: Mapping[str, Compute]) -> list[_Step]:
    left = reads(graph)
    left.update(graph.outputs.keys())
    kept = {"", *graph.outputs}
    return [
        _Step(
            node=node,
            compute=computes.get(node.name, compute := operator_of(node).compute),
            trained=_TRAINED.get(node.operator, compute),
            free=tuple(set(freed(node, left)) - kept),
        )
        for node in graph.nodes
    ]


def _batch_norm(node: Node, inputs: Tensors, opset: int) -> tuple[Tensor, ...]:
    x, scale, bias, mean, variance = (given(node, inputs, position) for position in range(5))
    epsilon = number(node, "epsilon", BATCH_NORM_EPSILON)
    return (F.batch_norm(x, mean, variance, scale, bias, True, _MOMENTUM, epsilon),)


def _dropout(node: Node, inputs: Tensors, opset: int) -> tuple[Tensor, ...]:
    x = given(node, inputs, 0)
    ratio = inputs[1].item() if len(inputs) > 1 and inputs[1] is not None else 0.5
    ratio = number(node, "ratio", float(ratio))
    if len(node.outputs) == 1:
        return (F.dropout(x, ratio),)
    kept = F.dropout(torch.ones_like(x), ratio)
    return x * kept, kept != 0


_TRAINED: Mapping[str, Compute] = {"BatchNormalization": _batch_norm, "Dropout": _dropout}
"""What operators compute in training mode, where it is something else."""
