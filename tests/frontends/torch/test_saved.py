import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save
from torch import nn

from yoloprune.errors import PlanError, UsageError, WeightsError
from yoloprune.frontends.torch.operate import operate
from yoloprune.frontends.torch.saved import load_state, read_module, read_saved, write_module
from yoloprune.frontends.torch.surgery import Surgery, TensorCut

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


def _deep(value: Any, path: list[Any], new: Any) -> None:
    for key in path[:-1]:
        value = value[key]
    value[path[-1]] = new


@pytest.mark.parametrize(
    ("place", "new", "said"),
    [
        (["surgeries", 0, "sizes", "", "__class__"], 2, "no size .__class__"),
        (["surgeries", 0, "sizes", ".."], {"out_features": 2}, r"no size \.\.\.out_features"),
        (["surgeries", 0, "sizes", "", "out_features"], "x" * 999, "must be a"),
        (["surgeries", 0, "sizes", "", "out_features"], 10**9, "which no pruning does"),
        (["surgeries", 0, "sizes", "", "out_features"], 1, "at 1, and tensors of 2: it is damaged"),
        (["surgeries", 0, "sizes", ""], [2], "must be an object"),
        (["surgeries", 0, "tensors", "..\x1b"], {"before": [3], "blocks": [{}]}, "not there"),
        (["surgeries", 0, "tensors", "bias", "blocks", 0, "0"], [0, 9], "can be cut like this"),
        (["surgeries", 0, "tensors", "bias", "blocks", 0, "0"], [0, True], "a whole number"),
        (["surgeries", 0, "tensors", "bias", "before"], [4], r"its bias is \(3,\)"),
        (["surgeries", 0, "tensors", "weight"], {}, "before is missing"),
        (["surgeries"], None, "must be a list"),
    ],
)
def test_a_damaged_plan_is_refused_in_a_line_and_the_module_stays(
    tmp_path: Path, place: list[Any], new: Any, said: str
) -> None:
    slim = nn.Linear(2, 3)
    operate(slim, SURGERY)
    plan, tensors = write_module(slim, [SURGERY], tmp_path / "slim.safetensors")
    document = json.loads(plan.read_text())
    _deep(document, place, new)
    plan.write_text(json.dumps(document))
    module = nn.Linear(2, 3)
    before = {name: own.clone() for name, own in module.state_dict().items()}
    with pytest.raises(PlanError, match=said) as found:
        read_module(module, tensors)
    assert str(found.value).isprintable() and len(str(found.value)) < 400 + len(str(tmp_path))
    assert type(module) is nn.Linear and module.out_features == 3
    assert all(torch.equal(own, before[name]) for name, own in module.state_dict().items())


def test_a_state_that_does_not_fit_leaves_the_module_as_it_was(tmp_path: Path) -> None:
    slim = nn.Linear(2, 3)
    operate(slim, SURGERY)
    _, path = write_module(slim, [SURGERY], tmp_path / "slim.safetensors")
    module = nn.Linear(2, 3)
    path.write_bytes(save({**slim.state_dict(), "bias": torch.zeros(3)}))
    before = {name: own.clone() for name, own in module.state_dict().items()}
    with pytest.raises(WeightsError, match="not the state of this module"):
        read_module(module, path)
    assert all(torch.equal(own, before[name]) for name, own in module.state_dict().items())


@pytest.mark.parametrize("suffix", [".json", ".safetensors"])
def test_what_is_no_plain_file_is_refused(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / "slim.safetensors"
    write_module(nn.Linear(2, 3), [], path)
    path.with_suffix(suffix).unlink()
    os.mkfifo(path.with_suffix(suffix))
    with pytest.raises((PlanError, WeightsError), match="a device or a pipe, not a plain file"):
        read_module(nn.Linear(2, 3), path)


def test_a_definition_that_holds_no_numbers_is_refused(tmp_path: Path) -> None:
    slim = nn.Linear(2, 3)
    operate(slim, SURGERY)
    _, path = write_module(slim, [SURGERY], tmp_path / "slim.safetensors")
    with pytest.raises(UsageError, match="Linear: the definition is on the meta device"):
        read_module(nn.Linear(2, 3, device="meta"), path)
