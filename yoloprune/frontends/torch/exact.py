"""Numbers as torch computes with them, which ONNX and torch's exporter keep in float32.

A module in float64 has its epsilons, and the numbers that stand in its code, in float64: a graph in
which they are in float32 is another function. So what an exported model computes beforehand is
computed in float64, from the numbers that its float32s stand for.
"""

import math
from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from yoloprune.frontends.onnx.arrays import with_parameters
from yoloprune.frontends.onnx.protos import array_of, node_protos
from yoloprune.graph.graph import Graph, ValueType

if TYPE_CHECKING:
    import onnx

_DENOMINATOR = 100
"""Of fractions that are taken for what a float32 stands for: of chance ones there are too few."""

_LITERALS = 64
"""Numbers in a constant that may stand in the code; more are a table."""


def widened(model: "onnx.ModelProto") -> "onnx.ModelProto":
    """A model in float32 without functions as one in float64; one of other real dtypes as it is."""
    from onnx import TensorProto

    codes = {tensor.data_type for tensor in model.graph.initializer}
    codes |= {
        value.type.tensor_type.elem_type
        for value in (*model.graph.input, *model.graph.value_info, *model.graph.output)
    }
    if codes & {TensorProto.DOUBLE, TensorProto.FLOAT16, TensorProto.BFLOAT16}:
        return model
    result = type(model)()
    result.CopyFrom(model)
    for value in (*result.graph.input, *result.graph.value_info, *result.graph.output):
        if value.type.tensor_type.elem_type == TensorProto.FLOAT:
            value.type.tensor_type.elem_type = TensorProto.DOUBLE
    for tensor in result.graph.initializer:
        _widen(tensor)
    for node in node_protos(result):
        for attribute in node.attribute:
            if attribute.name == "value" and attribute.HasField("t"):
                _widen(attribute.t, literal=True)
            elif attribute.name == "value_float":
                _become(attribute, np.array(_whole(attribute.f)))
            elif attribute.name == "value_floats":
                _become(attribute, np.array([_whole(own) for own in attribute.floats]))
            elif attribute.name == "to" and attribute.i == TensorProto.FLOAT:
                attribute.i = TensorProto.DOUBLE
    return result


def _widen(tensor: "onnx.TensorProto", *, literal: bool = False) -> None:
    from onnx import TensorProto, numpy_helper

    if tensor.data_type != TensorProto.FLOAT:
        return
    array = array_of(tensor, Path()).astype(np.float64)
    if literal and array.size <= _LITERALS:
        array = np.array([_whole(own) for own in array.reshape(-1).tolist()]).reshape(array.shape)
    tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))


def _become(attribute: "onnx.AttributeProto", array: NDArray[Any]) -> None:
    from onnx import helper, numpy_helper

    attribute.CopyFrom(helper.make_attribute("value", numpy_helper.from_array(array)))


def as_computed(graph: Graph) -> Graph:
    """A graph whose attributes are what the float32s of ONNX stand for.

    An epsilon of 1e-5 and the sixth of a hard logistic are other numbers there.
    """
    nodes = (
        replace(node, attributes={name: _whole(own) for name, own in node.attributes.items()})
        for node in graph.nodes
    )
    return replace(graph, nodes=tuple(nodes))


def narrowed(graph: Graph) -> Graph:
    """The graph of a model that was widened, in float32 but for constants that are none."""
    nodes = tuple(
        replace(node, attributes={**node.attributes, "to": _FLOAT})
        if node.operator == "Cast" and node.attributes["to"] == _DOUBLE
        else node
        for node in graph.nodes
    )
    trained = with_parameters(graph).parameters
    return replace(
        graph,
        nodes=nodes,
        inputs=_single(graph.inputs),
        outputs=_single(graph.outputs),
        constants={name: _narrow(own, name in trained) for name, own in graph.constants.items()},
    )


_FLOAT, _DOUBLE = 1, 11
"""ONNX's numbers of these dtypes."""


def _single(values: Mapping[str, ValueType]) -> dict[str, ValueType]:
    return {
        name: replace(own, dtype="float32") if own.dtype == "float64" else own
        for name, own in values.items()
    }


def _narrow(array: NDArray[Any], always: bool) -> NDArray[Any]:
    """An array in float32, always or where that holds the same numbers."""
    if array.dtype != np.float64:
        return array
    with np.errstate(over="ignore"):
        found = array.astype(np.float32)
    if not always and not np.array_equal(found, array, equal_nan=True):
        return array
    found.setflags(write=False)
    return found


def _whole(value: Any) -> Any:
    """The fraction of small numbers, or else the shortest decimal, that a float32 stands for."""
    if not isinstance(value, float) or not math.isfinite(value):
        return value
    fraction = Fraction(value).limit_denominator(_DENOMINATOR)
    if fraction.denominator > 1 and np.float32(float(fraction)) == value:
        return float(fraction)
    return float(str(np.float32(value)))
