import numpy as np
import pytest

from yoloprune.errors import UsageError
from yoloprune.frontends.torch.surgery import Surgery, TensorCut, places_in, tensor_cut
from yoloprune.graph.edits import ArrayCut

CUT = TensorCut(before=(3, 2), blocks=({0: (0, 2)},))


def test_a_cut_in_plain_numbers_is_the_same_cut() -> None:
    array = ArrayCut(blocks=({0: np.array([0, 2])},))
    assert tensor_cut(array, (3, 2)) == CUT
    assert CUT.array.same_as(array)
    assert CUT.after == (2, 2)


def test_some_sizes_may_be_left_out() -> None:
    surgery = Surgery(sizes={"": {"c": 2, "d": 3}, "a": {"c": 1}})
    assert places_in(surgery.sizes) == [("", "c"), ("", "d"), ("a", "c")]
    assert places_in(surgery.without([("", "d"), ("a", "c")]).sizes) == [("", "c")]


@pytest.mark.parametrize(
    ("before", "blocks"),
    [
        ((3, 2), ({0: (0, 3)},)), ((3, 2), ({0: (-1, 0)},)), ((3, 2), ({2: (0,)},)),
        ((3, 2), ({-1: (0,)},)), ((3, 2), ({0: (1, 0)},)), ((3, 2), ({0: (1, 1)},)),
        ((3, 2), ()), ((), ({0: (0,)},)), ((3, 2), ({0: (0,)}, {0: (0,)})),
        ((4, 2), ({0: (0,)}, {0: (2,)})), ((4, 2), ({1: (0,)}, {1: (0, 1)})),
    ],
)  # fmt: skip
def test_what_is_no_cut_is_none(
    before: tuple[int, ...], blocks: tuple[dict[int, tuple[int, ...]], ...]
) -> None:
    with pytest.raises(UsageError, match="no tensor of the shape"):
        TensorCut(before=before, blocks=blocks)
