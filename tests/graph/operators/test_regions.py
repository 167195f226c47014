import pytest

from tests.graph.operators.referee import (
    computes_in_the_type_of_its_inputs,
    computes_what_onnx_means,
)
from yoloprune.graph.operators.regions import REGIONS


@pytest.mark.parametrize("name", sorted(REGIONS))
def test_every_operator_computes_what_onnx_means_in_the_type_of_its_inputs(name: str) -> None:
    computes_what_onnx_means(name)
    computes_in_the_type_of_its_inputs(name)
