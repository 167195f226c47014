import json
from pathlib import Path

import pytest
import torch
from torch import nn

from yoloprune.errors import PlanError, UsageError, WeightsError
from yoloprune.frontends.torch.saved import load_state, read_module, read_saved, write_module
from yoloprune.frontends.torch.surgery import Surgery, TensorCut, operate

SURGERY = Surgery(
    tensors={"weight": TensorCut(before=(3, 2), blocks=({0: (0, 2)},)),
             "bias": TensorCut(before=(3,), blocks=({0: (0, 2)},))},
    sizes={"": {"out_features": 2}},
)  # fmt: skip


def test_what_is_written_is_made_again_of_the_definition(tmp_path: Path) -> None:
    module = nn.Linear(2, 3)
    operate(module, SURGERY)
    plan, tensors = write_module(module, [SURGERY], tmp_path / "slim.safetensors")
    assert (plan.name, tensors.name) == ("slim.json", "slim.safetensors")
    again = nn.Linear(2, 3)
    assert read_module(again, tensors) == (SURGERY,)
    assert torch.equal(again.weight, module.weight)
    assert again.out_features == 2
    first = tensors.read_bytes()
    write_module(module, [SURGERY], tensors)
    assert tensors.read_bytes() == first


def test_another_format_or_version_and_a_missing_file_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "slim.safetensors"
    with pytest.raises(UsageError, match=r"slim\.pth: a module is written as a \.safetensors"):
        write_module(nn.Linear(1, 1), [], tmp_path / "slim.pth")
    with pytest.raises(PlanError, match=r"slim\.json"):
        read_saved(path)
    write_module(nn.Linear(1, 1), [], path)
    plan = json.loads(path.with_suffix(".json").read_text())
    path.with_suffix(".json").write_text(json.dumps(plan | {"version": 9}))
    with pytest.raises(PlanError, match="version"):
        read_saved(path)
    path.with_suffix(".json").write_text(json.dumps(plan))
    path.unlink()
    with pytest.raises(WeightsError, match="No such file"):
        read_saved(path)


def test_a_state_of_another_module_is_refused() -> None:
    with pytest.raises(WeightsError, match=r"x: not the state of this module: .*size mismatch"):
        load_state(nn.Linear(1, 2), nn.Linear(1, 3).state_dict(), Path("x"))
