import gc
import subprocess
import sys

import pytest
import torch
from torch import Tensor, nn

from yoloprune.errors import GraphError, UsageError
from yoloprune.frontends.torch.export import _path, as_inputs, exported, sizes_given, tensors_in


class _Looks(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x if x.sum().item() > 0 else -x


def test_what_torch_cannot_follow_is_refused_in_a_line() -> None:
    with pytest.raises(GraphError, match=r"_Looks: torch cannot export it to ONNX: \S") as found:
        exported(_Looks(), [torch.ones(2)])
    assert "\n" not in str(found.value)
    assert gc.isenabled()


_PROGRAM = """
import torch
from tests.frontends.torch.test_export import _Looks
from yoloprune.errors import GraphError
from yoloprune.frontends.torch.export import exported
try:
    exported(_Looks(), [torch.ones(2)])
except GraphError as error:
    print(error)
"""


def test_nothing_but_our_line_is_said() -> None:
    said = subprocess.run([sys.executable, "-c", _PROGRAM], capture_output=True, text=True)
    assert said.stderr == ""
    (line,) = said.stdout.splitlines()
    assert line.startswith("_Looks: torch cannot export it to ONNX: ")


def test_a_tensor_or_several_are_an_example() -> None:
    tensor = torch.ones(1)
    assert as_inputs(tensor) == (tensor,)
    assert as_inputs([tensor, 2]) == (tensor, 2)
    with pytest.raises(UsageError, match="`example_inputs` must be a tensor, or several"):
        as_inputs("images/")
    assert tensors_in({"a": [tensor], "b": None}) == (tensor,)


class _Keyed(nn.Module):
    def forward(self, given: dict[str, Tensor]) -> Tensor:
        return given["x"] + given["y"]


def test_a_dictionary_is_an_input_like_another() -> None:
    inputs = as_inputs(({"x": torch.ones(2), "y": torch.ones(2)},))
    assert len(exported(_Keyed(), inputs).graph.input) == 2


def test_open_sizes_are_those_of_the_example() -> None:
    shapes = {"x": ["batch", 3, "side"], "y": ["batch"]}
    assert sizes_given(shapes, [torch.ones(2, 3, 5), torch.ones(2)]) == {"batch": 2, "side": 5}


def test_modules_of_a_part_of_a_list_have_the_place_in_the_whole() -> None:
    inner = nn.ModuleList(nn.Sequential(nn.ReLU()) for _ in range(5))
    module = nn.Sequential(nn.Identity(), inner)
    assert _path("1.slice(None, -1, None).3.0", module) == "1.3.0"
    assert _path("1.slice(1, None, 2).1", module) == "1.3"
    assert _path("slice(1, None, None).0.slice(-2, None, None).1", module) == "1.4"
    assert _path("1.slice(None, 2, None).3", module) == ""
    assert _path("1.3", module) == "1.3"
