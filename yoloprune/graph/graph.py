"""The network that everything reads: nodes with ONNX operator semantics over named values.

A value is a graph's input, one of its parameters, one of its constants, or what a node gives; each
has a name of its own. Parameters are what training found: the graph knows their shapes, and their
numbers are kept apart, by name, so that a network is analyzed without them. Constants (shapes,
slice bounds, anchors) are part of the graph itself.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from numpy.typing import NDArray

from yoloprune.errors import GraphError

Attribute: TypeAlias = int | float | str | tuple[int, ...] | tuple[float, ...] | tuple[str, ...]
"""What an operator is told beside its inputs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ValueType:
    """Shape and dtype (numpy's name) of what a graph is given or gives; a named size may be any."""

    shape: tuple[int | str, ...]
    dtype: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """Shape and dtype (numpy's name) of an array of trained numbers."""

    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One operator of ONNX's own domain; an input or output that is left out is named ""."""

    name: str
    operator: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Attribute] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """Filters of a node that must stay, by number, and why."""

    node: str
    filters: tuple[int, ...]
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Graph:
    """A network; `opset` is the version of ONNX's operators that its nodes mean.

    Nodes are in an order in which they can be computed. Raises `GraphError` where a name is given
    twice, or read before it is given. Two graphs are the same where their digests are.
    """

    opset: int
    inputs: Mapping[str, ValueType]
    parameters: Mapping[str, Parameter]
    constants: Mapping[str, NDArray[Any]]
    nodes: tuple[Node, ...]
    outputs: Mapping[str, ValueType]
    blocks: Mapping[str, int] = field(default_factory=dict)
    """Values (B, C, ...) whose channels can only be removed in runs of so many neighbors.

    Nothing in a graph asks for that; the format that it is written back to does.
    """
    parts: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    """Values that hold channels along an axis in so many equal runs, and the axis: the i-th of each
    run go together. As `blocks`, and what follows."""
    alike: tuple[str, ...] = ()
    """Arrays of which all who read them are left the same."""
    held: tuple[Held, ...] = ()
    """What must stay."""
    sizes: Mapping[str, int] = field(default_factory=dict)
    """Numbers that named sizes are taken for where one is needed."""
    observed: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    """Shapes that values had in a run with these sizes, where no operator's rule tells them."""

    def __post_init__(self) -> None:
        known: set[str] = set()
        for name in (*self.inputs, *self.parameters, *self.constants):
            _add(known, name)
        node_names: set[str] = set()
        for node in self.nodes:
            _add(node_names, node.name)
            for name in node.inputs:
                if name and name not in known:
                    raise GraphError(
                        f"node {node.name} reads {name}, which nothing before it gives"
                    )
            for name in filter(None, node.outputs):
                _add(known, name)
        for name in self.outputs:
            if name not in known:
                raise GraphError(f"nothing gives the graph's output {name}")

    def digest(self) -> str:
        """SHA-256 over all but the parameters' numbers, the same on every machine."""
        constants = {
            name: [array.dtype.name, array.shape, hashlib.sha256(_bytes(array)).hexdigest()]
            for name, array in self.constants.items()
        }
        description = [
            self.opset,
            [[name, _typed(value)] for name, value in self.inputs.items()],
            [[name, _typed(value)] for name, value in self.outputs.items()],
            {name: _typed(parameter) for name, parameter in self.parameters.items()},
            constants,
            [
                [node.name, node.operator, node.inputs, node.outputs, dict(node.attributes)]
                for node in self.nodes
            ],
            *(dict(own) for own in (self.blocks, self.sizes, self.observed) if own),
            *([name, own] for name, own in self._asked().items() if own),
        ]
        return hashlib.sha256(json.dumps(description, sort_keys=True).encode()).hexdigest()

    def _asked(self) -> dict[str, object]:
        """What a format asks for beside `blocks`."""
        held = [[own.node, own.filters, own.reason] for own in self.held]
        return {"parts": dict(self.parts), "alike": self.alike, "held": held}


def _add(known: set[str], name: str) -> None:
    if not name or name in known:
        raise GraphError(f"the name {name!r} is given twice" if name else "a value has no name")
    known.add(name)


def _typed(value: ValueType | Parameter) -> dict[str, object]:
    return {"shape": value.shape, "dtype": value.dtype}


def _bytes(array: NDArray[Any]) -> bytes:
    return array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()
