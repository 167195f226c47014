"""Where torch computes: the CPU, or a GPU."""

from functools import cache

import torch
from torch import Tensor

from yoloprune.errors import UsageError

AUTO = "auto"
"""A GPU where torch has one, otherwise the CPU."""

DEVICES = (AUTO, "cpu", "cuda")


def torch_device(name: str | torch.device = AUTO) -> torch.device:
    """The device of this name: `auto`, `cpu`, `cuda`, or one that torch knows (`cuda:1`).

    Raises `UsageError` for a name that torch does not know, and for a GPU where there is none.
    """
    if name == AUTO:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UsageError(
            f"device {name!r} is not known: choose one of {', '.join(DEVICES)}"
        ) from error
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UsageError(f"device {name}: torch finds no such GPU here")
    return device


def has_bfloat16(device: torch.device) -> bool:
    """Whether a device is a processor that computes faster in bfloat16, as its instructions say.

    A GPU has them too, but of a small network it takes longer to launch than to compute.
    """
    # Not public: another torch may say it in another way, or not at all.
    said = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    return device.type == "cpu" and said is not None and bool(said())


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """The tensor on a device; nobody waits for the transfer to a GPU."""
    if device.type == "cuda" and tensor.device.type == "cpu":
        # From pageable memory the transfer would wait for all that the GPU has still to do.
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


@cache
def constant(
    values: tuple[tuple[float, ...], ...], dtype: torch.dtype, device: torch.device
) -> Tensor:
    """A matrix of constants, sent to a device once; not to be changed."""
    return torch.tensor(values, dtype=dtype, device=device)
