"""ONNX models as graphs."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from yoloprune.errors import GraphError
from yoloprune.frontends.onnx.arrays import UNFOLDED
from yoloprune.frontends.onnx.protos import (
    OWN_DOMAINS,
    array_of,
    attributes_of,
    captured,
    constant_of,
    node_names,
    operator_name,
)
from yoloprune.graph.graph import Graph, Node, ValueType
from yoloprune.graph.operators.dtypes import DTYPES
from yoloprune.graph.operators.operator import Family
from yoloprune.graph.operators.table import OPERATORS
from yoloprune.graph.shapes import shapes_of, worked_out

if TYPE_CHECKING:
    import onnx

FOLDED_AT_MOST = 1 << 20
"""Elements of an array that is computed beforehand though it is larger than what it comes from."""

FOLDED_TIMES = 4
"""Elements of all that is computed beforehand, for each that the file holds."""


def lower(model: "onnx.ModelProto", folder: Path) -> Graph:
    """The graph of a model whose nodes are sorted; arrays outside the file are in `folder`.

    All arrays are constants (`arrays.with_parameters` tells which were trained), and so is what
    depends on them alone. A node with bodies reads what
    they capture behind its own inputs. Raises `GraphError` for what is no graph.
    """
    reader = _Reader(model, folder)
    names = node_names(model.graph.node)
    nodes = [reader.node(*pair) for pair in zip(model.graph.node, names, strict=True)]
    return reader.lowered(tuple(node for node in nodes if node is not None))


def opset_of(model: "onnx.ModelProto") -> int:
    """The version of ONNX's own operators; raises `GraphError` where there is none."""
    for entry in model.opset_import:
        if entry.domain in OWN_DOMAINS:
            return int(entry.version)
    raise GraphError("it does not say which version of ONNX's operators it means")


def _keeps(operator: str) -> bool:
    """Whether what an operator gives first is surely of the dtype of what it reads first."""
    row = OPERATORS.get(operator)
    moves = row is not None and row.family in (Family.MOVE, Family.NORMALIZER)
    return moves or operator in ("Add", "Div", "InstanceNormalization", "Mul", "Sub")


class _Reader:
    def __init__(self, model: "onnx.ModelProto", folder: Path) -> None:
        self.model = model
        self.folder = folder
        self.opset = opset_of(model)
        if len(model.graph.sparse_initializer):
            raise GraphError("it holds sparse arrays, which are not understood: make them dense")
        values = (*model.graph.input, *model.graph.value_info, *model.graph.output)
        codes = {value.name: value.type.tensor_type.elem_type for value in values}
        codes |= {tensor.name: tensor.data_type for tensor in model.graph.initializer}
        self.codes = {name: code for name, code in codes.items() if code}
        self.arrays = {tensor.name: array_of(tensor, folder) for tensor in model.graph.initializer}
        held = sum(array.size for array in self.arrays.values())
        self.left = 16 * FOLDED_AT_MOST + FOLDED_TIMES * held

    def node(self, proto: "onnx.NodeProto", name: str) -> Node | None:
        """A node, or None for one that gives arrays."""
        operator = operator_name(proto)
        if not any(proto.output):
            raise GraphError(f"the node {name} ({operator}) gives nothing")
        if operator == "Constant":
            self.arrays[proto.output[0]] = constant_of(proto, self.folder)
            return None
        outside = captured(proto)
        node = Node(
            name=name,
            operator=operator,
            inputs=(*proto.input, *outside),
            outputs=tuple(proto.output),
            attributes=attributes_of(proto),
        )
        if operator == "Split":
            # A part that nobody wants is one all the same.
            parts = [own or f"{name}.part_{n}" for n, own in enumerate(proto.output)]
            node = replace(node, outputs=tuple(parts))
        if operator == "ConstantOfShape":
            # Its value is an array, which no attribute is.
            value = f"{name}.value"
            self.arrays[value] = self._filling(proto)
            node = Node(
                name=name,
                operator="Expand",
                inputs=(value, *proto.input),
                outputs=tuple(proto.output),
            )
        if (code := self.codes.get(proto.input[0] if proto.input else "")) and _keeps(operator):
            self.codes.setdefault(proto.output[0], code)
        like = proto.input[1] if len(proto.input) == 2 else ""
        if operator == "CastLike" and (code := self.codes.get(like)) is not None:
            # Of its second input it reads no numbers.
            node = Node(
                name=name,
                operator="Cast",
                inputs=tuple(proto.input[:1]),
                outputs=tuple(proto.output),
                attributes={"to": code},
            )
        if not outside and all(name in self.arrays for name in filter(None, node.inputs)):
            found = self._folded(node)
            if found is not None:
                self.arrays |= found
                return None
        return node

    def _filling(self, proto: "onnx.NodeProto") -> NDArray[Any]:
        for attribute in proto.attribute:
            if attribute.name == "value":
                return array_of(attribute.t, self.folder).reshape(1)
        return np.zeros(1, np.float32)

    def _folded(self, node: Node) -> dict[str, NDArray[Any]] | None:
        """The arrays that a node gives; None where it does not compute them from arrays alone."""
        if node.operator in UNFOLDED:
            return None
        read = [self.arrays.get(name) for name in node.inputs]
        shapes = [None if array is None else array.shape for array in read]
        largest = max([FOLDED_AT_MOST, *(array.size for array in read if array is not None)])
        try:
            given = shapes_of(node, shapes, read, self.opset)
        except GraphError:
            # Not understood: it stays a node.
            return None
        found = worked_out(node, given, read, self.opset, min(largest, self.left))
        self.left -= sum(array.size for array in found.values())
        return found or None

    def lowered(self, nodes: Sequence[Node]) -> Graph:
        """The graph of these nodes and what they read."""
        graph = self.model.graph
        initializers = {tensor.name for tensor in graph.initializer}
        inputs = {
            value.name: self._type(value) for value in graph.input if value.name not in initializers
        }
        read = {name for node in nodes for name in node.inputs}
        read |= {value.name for value in graph.output}
        constants = {name: array for name, array in self.arrays.items() if name in read}
        return Graph(
            opset=self.opset,
            inputs=inputs,
            parameters={},
            constants=constants,
            nodes=tuple(nodes),
            outputs={value.name: self._type(value, given=False) for value in graph.output},
        )

    def _type(self, value: "onnx.ValueInfoProto", *, given: bool = True) -> ValueType:
        from onnx.helper import tensor_dtype_to_np_dtype

        kind = value.type.tensor_type
        known = value.type.HasField("tensor_type") and kind.HasField("shape")
        if given and not known:
            raise GraphError(f"its input {value.name} is no tensor of a known number of axes")
        code = kind.elem_type
        dtype = tensor_dtype_to_np_dtype(code).name if code in DTYPES else "float32"
        if given and code not in DTYPES:
            raise GraphError(f"its input {value.name} holds no numbers that are understood")
        return ValueType(
            shape=tuple(
                _dimension(dimension, value.name, axis)
                for axis, dimension in enumerate(kind.shape.dim)
            ),
            dtype=dtype,
        )


def _dimension(dimension: Any, name: str, axis: int) -> int | str:
    if dimension.HasField("dim_value") and dimension.dim_value > 0:
        return int(dimension.dim_value)
    named = dimension.HasField("dim_param") and dimension.dim_param not in ("", "?")
    return str(dimension.dim_param) if named else f"{name}.{axis}"
