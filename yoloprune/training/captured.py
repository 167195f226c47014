"""Work on a GPU recorded once and replayed: one launch in place of thousands of kernels.

Of a small network the processor takes several times as long to launch the kernels of a step as the
GPU takes to run them.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

WARMUP = 2
"""Passes before one is recorded: the first ones set up libraries and choose kernels."""


@dataclass(frozen=True, slots=True, eq=False)
class _Recorded:
    """What a pass reads and gives, in the same memory at every replay."""

    graph: torch.cuda.CUDAGraph
    inputs: tuple[Tensor, ...]
    result: Tensor


class CapturedPass:
    """`gradients` of a network's inputs, which adds to its gradients, recorded as CUDA graphs.

    There is one for each set of shapes; nothing in it may wait for the GPU. Raises what torch does
    where memory does not suffice.
    """

    def __init__(self, network: nn.Module, gradients: Callable[..., Tensor]) -> None:
        self._network, self._gradients = network, gradients
        self._recorded: dict[tuple[torch.Size, ...], _Recorded] = {}

    def __call__(self, *inputs: Tensor) -> Tensor:
        """What `gradients` gives; to be read before the next call."""
        key = tuple(tensor.shape for tensor in inputs)
        if key not in self._recorded:
            self._recorded[key] = self._record(inputs)
        found = self._recorded[key]
        for own, given in zip(found.inputs, inputs, strict=True):
            own.copy_(given, non_blocking=True)
        found.graph.replay()
        return found.result

    def forget(self) -> None:
        """Let go of all that is recorded, and of its memory."""
        self._recorded.clear()

    def _record(self, inputs: Iterable[Tensor]) -> _Recorded:
        own = tuple(tensor.clone() for tensor in inputs)
        parameters = [p for p in self._network.parameters() if p.requires_grad]
        # Sums so far, and running statistics: the passes before the recorded one change both.
        sums = [p.grad for p in parameters]
        statistics = [(buffer, buffer.clone()) for buffer in self._network.buffers()]
        for p in parameters:
            p.grad = None
        aside = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(WARMUP):
                self._gradients(*own)
        torch.cuda.current_stream().wait_stream(aside)
        for p, before in zip(parameters, sums, strict=True):
            if before is not None:
                p.grad = before
            elif p.grad is not None:
                p.grad.zero_()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            result = self._gradients(*own)
        with torch.no_grad():
            for buffer, before in statistics:
                buffer.copy_(before)
        return _Recorded(graph, own, result)
