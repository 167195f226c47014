"""One process or several: what the training loop asks of them.

Started by `torchrun`, processes find each other by its environment variables; gloo on a CPU, NCCL
on GPUs. Alone, everything here is the identity.
"""

import atexit
import gc
import inspect
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import nn

from yoloprune.devices import AUTO, torch_device
from yoloprune.locks import locked
from yoloprune.training.peers import among_others

_Found = TypeVar("_Found")


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
        """Sums over all processes; where another one has ended, end quietly with code 2."""
        if self.size == 1:
            return values
        tensor = torch.tensor(values, dtype=torch.float64, device=self.device)
        with _together():
            dist.all_reduce(tensor)
        return tensor.tolist()

    def average_buffers(self, network: nn.Module) -> None:
        """Make running statistics the mean over all processes."""
        if self.size == 1:
            return
        # What is not saved is the same everywhere, and would be rounded.
        saved = network.state_dict()
        for name, buffer in network.named_buffers():
            if name in saved and buffer.is_floating_point():
                dist.all_reduce(buffer)
                buffer /= self.size

    def agree(self, flag: bool) -> bool:
        """Whether any process raised the flag."""
        return self.total([float(flag)])[0] > 0

    def on_first(self, work: Callable[[], _Found]) -> _Found:
        """What `work` returns in the first process, which does it alone, in all processes.

        If it raises, the first process does, and the others end quietly with code 2, as all do
        where another process has ended.
        """
        if self.size == 1:
            return work()
        outcome: list[Any] = [False, None]
        try:
            if self.is_first:
                outcome = [True, work()]
        finally:
            with _together():
                dist.broadcast_object_list(outcome, device=self.device)
        done, found = outcome
        if not done:
            raise SystemExit(2)
        return found  # type: ignore[no-any-return]

    @contextmanager
    def locked(self, folder: Path) -> Iterator[None]:
        """Hold a folder for all processes, as `locks.locked` does: the first one has it."""
        with ExitStack() as stack:
            self.on_first(lambda: stack.enter_context(locked(folder)))
            yield


@contextmanager
def _together() -> Iterator[None]:
    """Work of all processes: a lost connection means that another one ended, and told why."""
    try:
        yield
    except RuntimeError as error:
        raise SystemExit(2) from error


@contextmanager
def world(device: str = AUTO) -> Iterator[World]:
    """Join the processes that torchrun started, or be alone, on a device of this name.

    Among others each process has a GPU of its own, unless all are to be on the CPU. Raises
    `UsageError` for a device that is not there.
    """
    place = torch_device(device)
    if not among_others():
        yield World(rank=0, size=1, device=place)
        return
    cuda = place.type == "cuda"
    if cuda:
        place = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(place)
    # The others wait while the first one evaluates, which takes longer than NCCL's ten minutes.
    dist.init_process_group("nccl" if cuda else "gloo", timeout=timedelta(hours=12))
    try:
        yield World(rank=dist.get_rank(), size=dist.get_world_size(), device=place)
    except BaseException:
        # After the error has been told: the others take a lost connection for an error too.
        atexit.register(_leave)
        raise
    _leave()


def _leave() -> None:
    """End this process's part in the group, and the threads that carry its messages."""
    # A network that was trained lies in circles of references, holds the group, and would be found
    # as the interpreter ends: a thread of gloo's that then lets go of a tensor aborts the process.
    gc.collect()
    dist.destroy_process_group()


def parallel(network: nn.Module, world: World) -> nn.Module:
    """The network with gradients averaged over all processes."""
    if world.size == 1:
        return network
    # torch 2.13 gave the option a new name and warns of the old one.
    known = inspect.signature(nn.parallel.DistributedDataParallel).parameters
    new = "forward_sync_buffers" in known
    own_buffers: dict[str, Any] = {"forward_sync_buffers" if new else "broadcast_buffers": False}
    return nn.parallel.DistributedDataParallel(network, **own_buffers)
