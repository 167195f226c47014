"""Recorded passes add to the gradients what passes that are run do."""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from yoloprune.training.captured import CapturedPass

STREAMS = ("Stream", "current_stream", "stream")


def network(device: str) -> nn.Module:
    torch.manual_seed(0)
    layers = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 1, 3)
    return nn.Sequential(*layers).to(device)


def gradients_of(own: nn.Module) -> Callable[[Tensor, Tensor], Tensor]:
    def gradients(images: Tensor, divisor: Tensor) -> Tensor:
        loss = own(images).square().sum() / divisor
        loss.backward()
        return loss.detach()

    return gradients


class FakeGraph:
    """A graph of a GPU's kernels on the CPU: it keeps the pass that was recorded, and runs it."""

    recording: "FakeGraph | None" = None

    def __init__(self) -> None:
        self.replay: Callable[[], Any] = lambda: None


@contextmanager
def fake_capture(graph: FakeGraph) -> Iterator[None]:
    FakeGraph.recording = graph
    yield
    FakeGraph.recording = None


class Anything:
    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *_: None

    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None: ...


@pytest.fixture(params=["cpu", "cuda"])
def device(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "cuda" and not torch.cuda.is_available():
        pytest.skip("needs a GPU")
    if request.param == "cpu":
        for name in STREAMS:
            monkeypatch.setattr(torch.cuda, name, lambda *_: Anything())
        monkeypatch.setattr(torch.cuda, "CUDAGraph", FakeGraph)
        monkeypatch.setattr(torch.cuda, "graph", fake_capture)
    return str(request.param)


def recordable(own: nn.Module) -> Callable[[Tensor, Tensor], Tensor]:
    """The gradients' function; on the CPU what is recorded is not run, as on a GPU."""
    run = gradients_of(own)

    def gradients(images: Tensor, divisor: Tensor) -> Tensor:
        if (graph := FakeGraph.recording) is None:
            return run(images, divisor)
        result = torch.zeros(())
        graph.replay = lambda: result.copy_(run(images, divisor))
        return result

    return gradients


def test_sums_of_passes_statistics_and_losses_are_the_same(device: str) -> None:
    plain = network(device)
    other = copy.deepcopy(plain)
    run, captured = gradients_of(plain), CapturedPass(other, recordable(other))
    # Passes of a second shape are recorded while gradients of the first are there.
    for step, sizes in enumerate([(2, 2, 3), (3, 2)]):
        for own in (plain, other):
            own.zero_grad(set_to_none=step == 0)
        for size in sizes:
            images = torch.randn(size, 3, 8, 8, device=device)
            divisor = torch.tensor(float(step + 1), device=device)
            expected, found = run(images, divisor), captured(images, divisor)
            torch.testing.assert_close(found, expected)
        for a, b in zip(plain.parameters(), other.parameters(), strict=True):
            torch.testing.assert_close(b.grad, a.grad)
    for a, b in zip(plain.buffers(), other.buffers(), strict=True):
        torch.testing.assert_close(b, a)


def test_what_is_forgotten_is_recorded_anew(device: str) -> None:
    own = network(device)
    captured = CapturedPass(own, recordable(own))
    images, divisor = torch.randn(1, 3, 8, 8, device=device), torch.ones((), device=device)
    first = captured(images, divisor).clone()
    captured.forget()
    torch.testing.assert_close(captured(images, divisor), first)
