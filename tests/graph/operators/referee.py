"""Rows of the operator table against ONNX's own reference implementation, in float64."""

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from tests.graph.operators.cases import ELEMENTWISE, Array, Case, Draw
from tests.graph.operators.layer_cases import LAYERS
from tests.graph.operators.move_cases import MOVES
from yoloprune.errors import GraphError
from yoloprune.graph.graph import Node
from yoloprune.graph.operators.table import operator_of

CASES = ELEMENTWISE | LAYERS | MOVES
EXAMPLES = 12


def drawn(name: str) -> Iterator[Case]:
    """Some cases of an operator, the same in every run."""
    for number in range(EXAMPLES):
        yield CASES[name](Draw(zlib.crc32(name.encode()), number))


def node_of(case: Case) -> Node:
    inputs = ["" if array is None else f"x{i}" for i, array in enumerate(case.inputs)]
    return Node(
        name="node",
        operator=case.operator,
        inputs=tuple(inputs),
        outputs=tuple(f"y{i}" for i in range(case.outputs)),
        attributes=case.attributes,
    )


def referee(case: Case) -> list[Array]:
    """What ONNX's reference gives."""
    node = node_of(case)
    made = helper.make_node(node.operator, node.inputs, node.outputs)
    for name, value in node.attributes.items():
        if isinstance(value, np.ndarray):
            value = numpy_helper.from_array(value)
        made.attribute.append(helper.make_attribute(name, value))
    given = {name: x for name, x in zip(node.inputs, case.inputs, strict=True) if name}
    inputs = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(x.dtype), x.shape)
        for name, x in given.items()
    ]
    outputs = [onnx.ValueInfoProto(name=name) for name in node.outputs]
    graph = helper.make_graph([made], "graph", inputs, outputs)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", case.opset)])
    if case.runtime:
        model.ir_version = 10
        return onnxruntime.InferenceSession(model.SerializeToString()).run(None, given)
    return ReferenceEvaluator(model).run(None, given)


def in_float32(case: Case) -> Case:
    return replace(
        case,
        inputs=[
            x.astype(np.float32) if x is not None and x.dtype == np.float64 else x
            for x in case.inputs
        ],
    )


def computed(case: Case) -> list[Array]:
    tensors = [None if x is None else torch.tensor(x) for x in case.inputs]
    found = operator_of(node_of(case)).compute(node_of(case), tensors, case.opset)
    assert len(found) == case.outputs
    return [tensor.numpy() for tensor in found]


def shapes_of(case: Case) -> tuple[tuple[int, ...], ...]:
    shapes = [None if x is None else x.shape for x in case.inputs]
    return operator_of(node_of(case)).shape(node_of(case), shapes, case.inputs, case.opset)


def computes_what_onnx_means(name: str) -> None:
    """Fail unless the reference gives the same, of the same shapes and dtypes."""
    for case in drawn(name):
        tolerance = case.tolerance
        if case.runtime:
            case, tolerance = in_float32(case), 1e-5
        expected, found = referee(case), computed(case)
        if name != "NonMaxSuppression":
            assert shapes_of(case) == tuple(y.shape for y in expected)
        for ours, theirs in zip(found, expected, strict=True):
            assert ours.shape == theirs.shape and ours.dtype == theirs.dtype
            np.testing.assert_allclose(ours, theirs, rtol=tolerance, atol=tolerance)


def computes_in_the_type_of_its_inputs(name: str) -> None:
    """Fail unless float32 goes in and float32 comes out."""
    case = next(drawn(name))
    if case.attributes.keys() & {"to", "value"}:
        return  # The node names a type itself.
    shorter = computed(in_float32(case))
    for long, short in zip(computed(case), shorter, strict=True):
        expected = np.dtype(np.float32) if long.dtype == np.float64 else long.dtype
        assert short.dtype == expected and short.shape == long.shape


def has_the_gradients_of_the_differences(name: str) -> None:
    """Fail unless gradients are those of finite differences."""
    case = next(drawn(name))
    node, fixed = node_of(case), [None if x is None else torch.tensor(x) for x in case.inputs]
    places = [i for i, x in enumerate(fixed) if x is not None and x.dtype == torch.float64]

    def function(*varied: torch.Tensor) -> torch.Tensor:
        tensors = list(fixed)
        for place, tensor in zip(places, varied, strict=True):
            tensors[place] = tensor
        return operator_of(node).compute(node, tensors, case.opset)[0]

    varied = [fixed[place].requires_grad_() for place in places]
    assert torch.autograd.gradcheck(function, varied)


def is_refused(
    operator: str,
    shapes: Sequence[tuple[int, ...]],
    message: str,
    known: Sequence[Array | None] = (),
    **attributes: Any,
) -> None:
    """Fail unless a node that reads these shapes is refused by its name."""
    inputs = tuple(f"x{i}" for i in range(len(shapes)))
    node = Node(name="n", operator=operator, inputs=inputs, outputs=("y",), attributes=attributes)
    with pytest.raises(GraphError, match=message):
        operator_of(node).shape(node, shapes, known, 18)
