"""Graphs that were in no ONNX file, as models."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from yoloprune.errors import GraphError, UsageError
from yoloprune.graph.graph import Graph, Node, Parameter, ValueType

if TYPE_CHECKING:
    import onnx

LARGEST = (1 << 31) - (1 << 24)
"""Bytes of numbers that one file holds: protobuf ends at 2 GiB."""


def onnx_model(
    graph: Graph,
    arrays: Mapping[str, NDArray[Any]],
    *,
    description: str = "",
    metadata: Mapping[str, str] | None = None,
) -> "onnx.ModelProto":
    """A graph with its parameters' arrays as an ONNX model, checked by ONNX's own rules.

    Equal arguments give equal bytes. Raises `GraphError` unless the arrays are those that the graph
    names, and `UsageError` if they are too large for one file.
    """
    from onnx import checker, helper, numpy_helper, shape_inference

    wanted = {name: (given.shape, given.dtype) for name, given in graph.parameters.items()}
    if (found := {name: (a.shape, a.dtype.name) for name, a in arrays.items()}) != wanted:
        names = wanted.keys() | found.keys()
        odd = sorted(name for name in names if wanted.get(name) != found.get(name))
        raise GraphError(f"the arrays are not those of the graph: {', '.join(odd[:5])} differ")
    if sum(array.nbytes for array in arrays.values()) > LARGEST:
        raise UsageError("the parameters take more than 2 GB, which one ONNX file cannot hold")
    nodes = [node_proto(node) for node in graph.nodes]
    # Checked while the parameters are inputs: each check would copy their numbers.
    given = [*_value_infos(graph.inputs), *_value_infos(graph.parameters)]
    constants = [numpy_helper.from_array(array, name) for name, array in graph.constants.items()]
    opset = helper.make_opsetid("", graph.opset)
    model = helper.make_model(
        helper.make_graph(nodes, "network", given, _value_infos(graph.outputs), constants),
        producer_name="yoloprune",
        doc_string=description,
        opset_imports=[opset],
        ir_version=helper.find_min_ir_version_for([opset]),
    )
    helper.set_model_props(model, dict(metadata or {}))
    # The types of all values, which this adds, are for tools that show or quantize them.
    model = shape_inference.infer_shapes(model, check_type=True, strict_mode=True)
    checker.check_model(model)
    del model.graph.input[len(graph.inputs) :]
    model.graph.initializer.extend(
        numpy_helper.from_array(arrays[name], name) for name in graph.parameters
    )
    return model


def node_proto(node: Node) -> "onnx.NodeProto":
    """A node of an operator of ONNX's own."""
    from onnx import helper

    proto = helper.make_node(node.operator, node.inputs, node.outputs, name=node.name)
    proto.attribute.extend(helper.make_attribute(*item) for item in node.attributes.items())
    return proto


def _value_infos(values: Mapping[str, ValueType | Parameter]) -> "list[onnx.ValueInfoProto]":
    from onnx import helper

    return [
        helper.make_tensor_value_info(
            name, helper.np_dtype_to_tensor_dtype(np.dtype(value.dtype)), value.shape
        )
        for name, value in values.items()
    ]
