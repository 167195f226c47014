import ml_dtypes
import numpy as np
import pytest
import torch

from yoloprune.errors import GraphError
from yoloprune.graph.graph import Node
from yoloprune.graph.operators.tensors import array_of, tensor_of, together, told


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [
        (np.float16, torch.float16),
        (np.int64, torch.int64),
        (np.bool_, torch.bool),
        (ml_dtypes.bfloat16, torch.bfloat16),
        (ml_dtypes.float8_e4m3fn, torch.float32),
        (ml_dtypes.int4, torch.int8),
    ],
)
def test_arrays_are_copied_in_their_dtype_or_a_wider_one(
    dtype: type, expected: torch.dtype
) -> None:
    array = np.array([0, 1, 3]).astype(dtype)
    tensor = tensor_of(array)
    assert tensor.dtype is expected
    assert tensor.double().tolist() == array.astype(float).tolist()
    array[0] = 1
    assert tensor[0] == 0
    back = array_of(tensor)
    assert back is None if expected is torch.bfloat16 else back is not None
    if back is not None:
        assert back.astype(float).tolist() == [0, *array.astype(float)[1:]]


def test_words_are_no_numbers() -> None:
    with pytest.raises(GraphError, match="holds no numbers to compute with"):
        tensor_of(np.array(["a"]))


def test_nodes_are_told_by_attributes_or_inputs() -> None:
    old = Node(name="n", operator="Squeeze", inputs=("x",), outputs=("y",),
               attributes={"axes": (1, 2)})  # fmt: skip
    new = Node(name="n", operator="Squeeze", inputs=("x", "axes"), outputs=("y",))
    assert told(old, [torch.zeros(1)], 1, "axes") == (1, 2)
    assert told(new, [torch.zeros(1), torch.tensor([[3], [4]])], 1, "axes") == (3, 4)
    with pytest.raises(GraphError, match="lacks its input 1"):
        told(new, [torch.zeros(1), None], 1, "axes")


def test_tensors_come_together_on_the_accelerator() -> None:
    own, far = torch.zeros(1), torch.zeros(1, device="meta")
    assert together([own, None]) == [own]
    assert [tensor.device.type for tensor in together([own, None, far])] == ["meta", "meta"]
