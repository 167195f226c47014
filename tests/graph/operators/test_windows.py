"""Windows against torch's own convolutions and pools, and against rules by hand."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import assume, given
from hypothesis import strategies as st

from yoloprune.errors import GraphError
from yoloprune.graph.graph import Attribute, Node
from yoloprune.graph.operators.windows import spread_windows, windows


def node(operator: str = "Conv", **attributes: Attribute) -> Node:
    return Node(name="n", operator=operator, inputs=("x",), outputs=("y",), attributes=attributes)


@given(
    st.integers(1, 20), st.integers(1, 4), st.integers(1, 3), st.integers(1, 3), st.integers(0, 2)
)  # fmt: skip
def test_there_are_as_many_windows_as_torch_counts(
    size: int, kernel: int, stride: int, dilation: int, pad: int
) -> None:
    assume(size + 2 * pad > (kernel - 1) * dilation)
    told = node(strides=(stride,), dilations=(dilation,), pads=(pad, pad))
    found = windows(told, (size,), (kernel,))
    x, weight = torch.zeros(1, 1, size), torch.zeros(1, 1, kernel)
    options = {"stride": stride, "padding": pad, "dilation": dilation}
    assert found.sizes == tuple(F.conv1d(x, weight, **options).shape[2:])
    assert found.even and found.border() == [pad, pad]
    spread = spread_windows(told, (size,), (kernel,))
    full = (size - 1) * stride + (kernel - 1) * dilation + 1
    if full > 2 * pad:
        assert spread.sizes == tuple(F.conv_transpose1d(x, weight, **options).shape[2:])


@given(st.integers(1, 20), st.integers(1, 4), st.integers(1, 4), st.integers(0, 2))
def test_last_windows_reach_over_the_padding_as_in_torch(
    size: int, kernel: int, stride: int, pad: int
) -> None:
    assume(2 * pad <= kernel <= size + 2 * pad)
    told = node("MaxPool", strides=(stride,), pads=(pad, pad), ceil_mode=1)
    expected = F.max_pool1d(torch.zeros(1, 1, size), kernel, stride, pad, ceil_mode=True)
    assert windows(told, (size,), (kernel,)).sizes == tuple(expected.shape[2:])


def test_padding_may_be_chosen_so_that_the_size_follows_from_the_stride() -> None:
    upper = windows(node(auto_pad="SAME_UPPER", strides=(2, 2)), (7, 8), (3, 3))
    lower = windows(node(auto_pad="SAME_LOWER", strides=(2, 2)), (7, 8), (3, 3))
    assert upper.sizes == lower.sizes == (4, 4)
    assert (upper.before, upper.after) == ((1, 0), (1, 1))
    assert (lower.before, lower.after) == ((1, 1), (1, 0))
    assert upper.border() == [0, 1, 1, 1] and not upper.even


@pytest.mark.parametrize(
    ("attributes", "kernel", "message"),
    [
        ({"strides": (1,)}, (3, 3), "windows that are not of 2 axes"),
        ({}, (3,), "windows that are not of 2 axes"),
        ({"strides": (0, 1)}, (3, 3), "windows of no size, or that do not move"),
        ({}, (9, 3), "has a window of 9 over 8"),
        ({"pads": (1 << 20, 0, 0, 1 << 20)}, (3, 3), "more than any network needs"),
    ],
)
def test_windows_that_make_no_sense_are_refused(
    attributes: dict[str, Attribute], kernel: tuple[int, ...], message: str
) -> None:
    with pytest.raises(GraphError, match=message):
        windows(node(**attributes), (8, 8), kernel)
