import pytest

from tests.graph.operators.referee import (
    computes_in_the_type_of_its_inputs,
    computes_what_onnx_means,
    has_the_gradients_of_the_differences,
)
from yoloprune.graph.operators.resizing import RESIZING


@pytest.mark.parametrize("name", sorted(RESIZING))
def test_every_operator_computes_what_onnx_means_in_the_type_of_its_inputs(name: str) -> None:
    computes_what_onnx_means(name)
    computes_in_the_type_of_its_inputs(name)


@pytest.mark.parametrize("name", ["Resize"])
def test_gradients_are_those_of_the_differences(name: str) -> None:
    has_the_gradients_of_the_differences(name)
