import onnx
import pytest
import torch

from yoloprune.errors import GraphError
from yoloprune.graph.graph import Node
from yoloprune.graph.operators.dtypes import DTYPES, code_of, dtype_of

NODE = Node(name="n", operator="Cast", inputs=("x",), outputs=("y",))


@pytest.mark.parametrize("code", DTYPES)
def test_numbers_are_those_of_onnx(code: int) -> None:
    dtype = dtype_of(NODE, code)
    named = {"float": "float32", "double": "float64"}
    name = onnx.TensorProto.DataType.Name(code).lower()
    assert dtype is getattr(torch, named.get(name, name))
    assert code_of(dtype) == code


def test_what_torch_has_not_is_refused() -> None:
    with pytest.raises(GraphError, match=r"node n \(Cast\) asks for the dtype 8 of ONNX"):
        dtype_of(NODE, onnx.TensorProto.STRING)
