import numpy as np
import pytest

from tests.graph.operators.referee import (
    computes_in_the_type_of_its_inputs,
    computes_what_onnx_means,
    has_the_gradients_of_the_differences,
    is_refused,
)
from yoloprune.graph.operators.moves import MOVES


@pytest.mark.parametrize("name", sorted(MOVES))
def test_every_operator_computes_what_onnx_means_in_the_type_of_its_inputs(name: str) -> None:
    computes_what_onnx_means(name)
    computes_in_the_type_of_its_inputs(name)


@pytest.mark.parametrize("name", ["DepthToSpace", "Pad", "Slice"])
def test_gradients_are_those_of_the_differences(name: str) -> None:
    has_the_gradients_of_the_differences(name)


def test_what_does_not_fit_is_refused_by_name() -> None:
    four = np.array([4])
    is_refused("Reshape", [(2, 3), (1,)], r"cannot turn \(2, 3\) into \(4,\)", [None, four])
    is_refused("Reshape", [(2, 3), (1,)], "the values of x1, .* only when it runs", [None, None])
    is_refused("Concat", [(2, 3), (2,)], "cannot join", axis=1)
    is_refused("Flatten", [(2, 3)], "has axis 3, of 2", axis=3)
    is_refused("Split", [(2, 3)], r"splits 2 into \(1, 2\)", split=(1, 2))
