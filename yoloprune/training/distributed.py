"""One process or several: what the training loop asks of them.

Started by `torchrun`, processes find each other by its environment variables; gloo on a CPU, NCCL
on GPUs. Alone, everything here is the identity.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import nn


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """This process among all: rank 0 writes files and prints."""

    rank: int
    size: int
    device: torch.device

    @property
    def is_first(self) -> bool:
        """Whether this process writes and prints."""
        return self.rank == 0

    def total(self, values: list[float]) -> list[float]:
        """Sums over all processes."""
        if self.size == 1:
            return values
        tensor = torch.tensor(values, dtype=torch.float64, device=self.device)
        dist.all_reduce(tensor)
        return tensor.tolist()

    def average_buffers(self, network: nn.Module) -> None:
        """Make running statistics the mean over all processes."""
        if self.size == 1:
            return
        for buffer in network.buffers():
            if buffer.is_floating_point():
                dist.all_reduce(buffer)
                buffer /= self.size

    def agree(self, flag: bool) -> bool:
        """Whether any process raised the flag."""
        return self.total([float(flag)])[0] > 0

    def from_first(self, value: float) -> float:
        """The first process's value, in all processes."""
        return self.total([value if self.is_first else 0.0])[0]

    def wait(self) -> None:
        """Wait until all processes are here."""
        if self.size > 1:
            dist.barrier()


@contextmanager
def world() -> Iterator[World]:
    """Join the processes that torchrun started, or be alone."""
    cuda = torch.cuda.is_available()
    if "RANK" not in os.environ or int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield World(rank=0, size=1, device=torch.device("cuda" if cuda else "cpu"))
        return
    device = torch.device("cuda", int(os.environ["LOCAL_RANK"])) if cuda else torch.device("cpu")
    if cuda:
        torch.cuda.set_device(device)
    # The others wait while the first one evaluates, which takes longer than NCCL's ten minutes.
    dist.init_process_group("nccl" if cuda else "gloo", timeout=timedelta(hours=12))
    try:
        yield World(rank=dist.get_rank(), size=dist.get_world_size(), device=device)
    finally:
        dist.destroy_process_group()


def parallel(network: nn.Module, world: World) -> nn.Module:
    """The network with gradients averaged over all processes."""
    if world.size == 1:
        return network
    return nn.parallel.DistributedDataParallel(network, broadcast_buffers=False)
