import pytest

from tests.graph.operators.referee import (
    computes_in_the_type_of_its_inputs,
    computes_what_onnx_means,
    is_refused,
)
from yoloprune.graph.operators.others import OTHERS


@pytest.mark.parametrize("name", sorted(OTHERS))
def test_every_operator_computes_what_onnx_means_in_the_type_of_its_inputs(name: str) -> None:
    computes_what_onnx_means(name)
    computes_in_the_type_of_its_inputs(name)


def test_what_does_not_fit_is_refused_by_name() -> None:
    is_refused("NonMaxSuppression", [(1, 2, 4), (1, 1, 2)], "known only when it runs")
