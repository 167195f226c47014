import pytest

from tests.graph.operators.referee import (
    computes_in_the_type_of_its_inputs,
    computes_what_onnx_means,
    has_the_gradients_of_the_differences,
    is_refused,
)
from yoloprune.graph.operators.elementwise import ELEMENTWISE


@pytest.mark.parametrize("name", sorted(ELEMENTWISE))
def test_every_operator_computes_what_onnx_means_in_the_type_of_its_inputs(name: str) -> None:
    computes_what_onnx_means(name)
    computes_in_the_type_of_its_inputs(name)


@pytest.mark.parametrize(
    "name", ["BatchNormalization", "HardSwish", "Mish", "PRelu", "Softplus", "Where"]
)
def test_gradients_are_those_of_the_differences(name: str) -> None:
    has_the_gradients_of_the_differences(name)


def test_what_does_not_fit_is_refused_by_name() -> None:
    is_refused("Add", [(2, 3), (4,)], r"node n \(Add\) cannot broadcast \(2, 3\) and \(4,\)")
