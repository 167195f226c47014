"""Writing a graph down, node by node."""

from collections.abc import Mapping
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from yoloprune.errors import GraphError
from yoloprune.graph.graph import Attribute, Graph, Node, Parameter, ValueType

_Value = TypeVar("_Value")


class GraphBuilder:
    """A graph in the making; each method adds to it and gives the name of the new value.

    `dtype`, numpy's name, is that of all its real numbers.
    """

    def __init__(self, *, opset: int, dtype: str = "float32") -> None:
        self.opset = opset
        self.dtype = dtype
        self._inputs: dict[str, ValueType] = {}
        self._parameters: dict[str, Parameter] = {}
        self._constants: dict[str, NDArray[Any]] = {}
        self._nodes: list[Node] = []
        self._blocks: dict[str, int] = {}

    def input(self, name: str, shape: tuple[int | str, ...]) -> str:
        """Something that the graph is given."""
        return _give(self._inputs, name, ValueType(shape=shape, dtype=self.dtype))

    def parameter(self, name: str, shape: tuple[int, ...]) -> str:
        """Trained numbers, which are kept elsewhere under this name."""
        return _give(self._parameters, name, Parameter(shape=shape, dtype=self.dtype))

    def constant(self, name: str, values: ArrayLike, dtype: str | None = None) -> str:
        """Fixed numbers: unless told, int64 where they are whole by type, or the graph's dtype."""
        array = np.array(values)
        whole = np.issubdtype(array.dtype, np.integer)
        array = array.astype(dtype or ("int64" if whole else self.dtype))
        array.setflags(write=False)
        return _give(self._constants, name, array)

    def node(self, name: str, operator: str, *inputs: str, **attributes: Attribute) -> str:
        """A node with one output, which has the node's name."""
        self._nodes.append(
            Node(
                name=name,
                operator=operator,
                inputs=inputs,
                outputs=(name,),
                attributes=attributes,
            )
        )
        return name

    def nodes(
        self, name: str, operator: str, *inputs: str, outputs: int, **attributes: Attribute
    ) -> tuple[str, ...]:
        """A node with several outputs, which are numbered."""
        names = tuple(f"{name}.{number}" for number in range(outputs))
        self._nodes.append(
            Node(
                name=name,
                operator=operator,
                inputs=inputs,
                outputs=names,
                attributes=attributes,
            )
        )
        return names

    def in_blocks(self, value: str, size: int) -> None:
        """Say that a value's channels can only be removed in runs of so many."""
        self._blocks[value] = size

    def reshape(self, name: str, value: str, shape: tuple[int, ...]) -> str:
        """A value in another shape, where 0 stands for the size that it has there."""
        return self.node(name, "Reshape", value, self.constant(f"{name}.shape", shape))

    def split(self, name: str, value: str, axis: int, parts: int) -> tuple[str, ...]:
        """A value cut along an axis into equal parts."""
        return self.nodes(name, "Split", value, outputs=parts, axis=axis)

    def part(self, name: str, value: str, axis: int, start: int, end: int) -> str:
        """From `start` to before `end` of a value along an axis."""
        bounds = {"starts": start, "ends": end, "axes": axis}
        constants = [self.constant(f"{name}.{key}", [number]) for key, number in bounds.items()]
        return self.node(name, "Slice", value, *constants)

    def build(self, outputs: Mapping[str, tuple[int | str, ...]]) -> Graph:
        """The graph that gives these values of these shapes.

        Raises `GraphError` where names do not fit.
        """
        return Graph(
            opset=self.opset,
            inputs=self._inputs,
            parameters=self._parameters,
            constants=self._constants,
            nodes=tuple(self._nodes),
            outputs={
                name: ValueType(shape=shape, dtype=self.dtype) for name, shape in outputs.items()
            },
            blocks=self._blocks,
        )


def _give(known: dict[str, _Value], name: str, value: _Value) -> str:
    if name in known:
        raise GraphError(f"the name {name!r} is given twice")
    known[name] = value
    return name
