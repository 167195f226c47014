import pytest
import torch
from torch import Tensor, nn

from yoloprune.errors import GraphError, UsageError
from yoloprune.frontends.torch.export import as_inputs, exported, sizes_given, tensors_in


class _Looks(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x if x.sum().item() > 0 else -x


def test_what_torch_cannot_follow_is_refused_in_a_line() -> None:
    with pytest.raises(GraphError, match=r"_Looks: torch\.export cannot follow it: \S") as found:
        exported(_Looks(), [torch.ones(2)])
    assert "\n" not in str(found.value)


def test_a_tensor_or_several_are_an_example() -> None:
    tensor = torch.ones(1)
    assert as_inputs(tensor) == (tensor,)
    assert as_inputs([tensor, 2]) == (tensor, 2)
    with pytest.raises(UsageError, match="`example_inputs` must be a tensor, or several"):
        as_inputs("images/")
    assert tensors_in({"a": [tensor], "b": None}) == (tensor,)


def test_open_sizes_are_those_of_the_example() -> None:
    shapes = {"x": ["batch", 3, "side"], "y": ["batch"]}
    assert sizes_given(shapes, [torch.ones(2, 3, 5), torch.ones(2)]) == {"batch": 2, "side": 5}
