"""ONNX's numbers for dtypes."""

import torch

from yoloprune.graph.graph import Node
from yoloprune.graph.operators.operator import refused

FLOAT = 1
DOUBLE = 11

DTYPES = {
    FLOAT: torch.float32,
    2: torch.uint8,
    3: torch.int8,
    4: torch.uint16,
    5: torch.int16,
    6: torch.int32,
    7: torch.int64,
    9: torch.bool,
    10: torch.float16,
    DOUBLE: torch.float64,
    12: torch.uint32,
    13: torch.uint64,
    16: torch.bfloat16,
}
"""torch's dtypes, by ONNX's number."""


def dtype_of(node: Node, code: int) -> torch.dtype:
    """The dtype of a number in ONNX's `TensorProto.DataType`."""
    if code not in DTYPES:
        raise refused(node, f"asks for the dtype {code} of ONNX, which torch has not")
    return DTYPES[code]


def code_of(dtype: torch.dtype) -> int:
    """ONNX's number for a dtype."""
    return next(code for code, own in DTYPES.items() if own == dtype)
