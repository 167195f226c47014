import pytest

from tests.graph.operators.referee import (
    computes_in_the_type_of_its_inputs,
    computes_what_onnx_means,
    has_the_gradients_of_the_differences,
    is_refused,
)
from yoloprune.graph.operators.contractions import CONTRACTIONS


@pytest.mark.parametrize("name", sorted(CONTRACTIONS))
def test_every_operator_computes_what_onnx_means_in_the_type_of_its_inputs(name: str) -> None:
    computes_what_onnx_means(name)
    computes_in_the_type_of_its_inputs(name)


@pytest.mark.parametrize("name", ["Conv", "ConvTranspose", "Gemm"])
def test_gradients_are_those_of_the_differences(name: str) -> None:
    has_the_gradients_of_the_differences(name)


def test_what_does_not_fit_is_refused_by_name() -> None:
    is_refused("Conv", [(1, 3, 8, 8), (4, 2, 3, 3)], "a kernel of .* in 1 groups")
    is_refused("Conv", [(1, 2, 2, 2), (4, 2, 3, 3)], "a window of 3 over 2")
    is_refused("Gemm", [(2, 3), (4, 2)], "multiplies")
