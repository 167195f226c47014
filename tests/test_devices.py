"""Devices by name, and what they are fast at."""

from pathlib import Path

import pytest
import torch

from yoloprune.devices import has_bfloat16, torch_device
from yoloprune.errors import UsageError
from yoloprune.training.distributed import world


@pytest.mark.parametrize(("gpus", "device"), [(0, "cpu"), (2, "cuda")])
def test_auto_is_a_gpu_where_there_is_one(
    gpus: int, device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
    assert torch_device() == torch_device("auto") == torch.device(device)
    assert torch_device("cpu") == torch.device("cpu")
    with pytest.raises(UsageError, match="device cuda:2: torch finds no such GPU here"):
        torch_device("cuda:2")
    with world("cpu") as here:
        assert here.device == torch.device("cpu")
    with world() as here:
        assert here.device == torch.device(device)


@pytest.mark.parametrize("name", ["", "gpu", "cuda:x", "cpu:"])
def test_other_names_are_not_known(name: str) -> None:
    with pytest.raises(UsageError, match="is not known: choose one of auto, cpu, cuda"):
        torch_device(name)


def test_a_processor_says_itself_whether_it_is_fast_in_bfloat16() -> None:
    said = Path("/proc/cpuinfo")
    if not said.exists():
        pytest.skip("this system has another way to say it")
    assert has_bfloat16(torch.device("cpu")) == ("avx512_bf16" in said.read_text().split())
    assert not has_bfloat16(torch.device("cuda"))
