"""What engines are given, read by ONNX's own parser."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from tests.engines.tiny import MODEL
from tests.frontends.onnx.models import loaded, residual
from yoloprune.engines.onnx_bytes import fixed_batch, float32_arrays, onnx_bytes


def sizes(values: list[onnx.ValueInfoProto]) -> list[list[int | str]]:
    return [
        [size.dim_param or size.dim_value for size in value.type.tensor_type.shape.dim]
        for value in values
    ]


def test_a_model_is_for_any_number_of_images_or_for_one_alone() -> None:
    any_number = onnx.load_from_string(onnx_bytes(MODEL)).graph
    assert sizes(list(any_number.input)) == [["batch", 3, 32, 64]]
    three = onnx.load_from_string(onnx_bytes(MODEL, 3)).graph
    assert sizes(list(three.input)) == [[3, 3, 32, 64]]
    assert [size[0] for size in sizes(list(three.output))] == [3, 3]
    assert fixed_batch(MODEL.graph, 3).inputs["images"].shape == (3, 3, 32, 64)


def test_a_file_is_given_as_it_is(tmp_path: Path) -> None:
    proto = residual(("n", 3, 16, 16))
    network = loaded(proto, tmp_path)
    assert onnx.load_from_string(onnx_bytes(network)) == proto
    two = onnx.load_from_string(onnx_bytes(network, 2))
    assert sizes([*two.graph.input, *two.graph.output]) == [[2, 3, 16, 16], [2, 6, 16, 16]]
    assert two.graph.node == proto.graph.node


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_arrays_of_any_precision_are_float32(dtype: torch.dtype) -> None:
    found = float32_arrays({"a": torch.tensor([0.5, -3.0], dtype=dtype, requires_grad=True)})
    assert found["a"].dtype == np.float32
    assert found["a"].tolist() == [0.5, -3]
