"""What an engine is: it loads a network and gives a `Runner`.

B images of C channels and H x W pixels.
"""

import importlib
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from yoloprune.errors import MissingDependencyError, UsageError
from yoloprune.graph.model import Model

CPU = torch.device("cpu")


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """How an engine is to compute; `batch` is a number of images to fix, None for any."""

    device: torch.device
    dtype: torch.dtype
    threads: int
    batch: int | None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Runner:
    """A network in an engine: (B, C, H, W) float32 in, outputs by name.

    Outputs are float32, or float64 where that is what is computed in.

    Attributes:
        title: of what computes, for tables.
        outputs: names, in order.
        compute: images on any device to the outputs, which lie on `device`.
        device: where it computes.
        concurrent: whether several threads may call it at once, each computing for itself.
    """

    title: str
    outputs: tuple[str, ...]
    compute: Callable[[Tensor], tuple[Tensor, ...]]
    device: torch.device = CPU
    concurrent: bool = False

    def __call__(self, images: Tensor) -> dict[str, Tensor]:
        """The outputs for these images."""
        return dict(zip(self.outputs, self.compute(images), strict=True))


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """One row of the table of engines.

    Attributes:
        name: as users write it.
        title: as tables show it.
        modules: what Python must be able to import, the engine's own module last.
        install: the command that installs them.
        load: a model to its runner.
        read: files that another program may have written to their runner, if it reads any.
        suffixes: of those files.
        devices: where it computes, the first unless told otherwise.
        dtypes: what it computes in.
        compared: whether a benchmark times it without being asked to.
    """

    name: str
    title: str
    load: Callable[[Model, Setup], Runner]
    modules: tuple[str, ...]
    install: str
    read: Callable[[Path, Setup], Runner] | None = None
    suffixes: tuple[str, ...] = ()
    devices: tuple[str, ...] = ("cpu",)
    dtypes: tuple[torch.dtype, ...] = (torch.float32,)
    compared: bool = False

    @property
    def missing(self) -> tuple[str, ...]:
        """The modules that it needs and that are not installed."""
        return tuple(name for name in self.modules if importlib.util.find_spec(name) is None)

    @property
    def version(self) -> str:
        """Version of the engine's own package.

        Raises `MissingDependencyError` where something that it needs is not installed.
        """
        self.require()
        return str(importlib.import_module(self.modules[-1]).__version__)

    def require(self) -> None:
        """Raise `MissingDependencyError` unless everything that it needs is installed."""
        if missing := self.missing:
            raise MissingDependencyError(
                f"{self.title} needs {' and '.join(missing)}: {self.install}"
            )

    def setup(
        self,
        *,
        device: torch.device | None = None,
        dtype: torch.dtype = torch.float32,
        threads: int | None = None,
        batch: int | None = None,
    ) -> Setup:
        """Settings that this engine can compute with; raises `UsageError` for others.

        `threads` of the CPU are torch's own number unless given.
        """
        if device is None:
            device = torch.device(self.devices[0])
        if device.type not in self.devices:
            raise UsageError(
                f"{self.title} runs on {' or '.join(self.devices)} here, not on {device.type}"
            )
        if dtype not in self.dtypes:
            known = " or ".join(_name(each) for each in self.dtypes)
            raise UsageError(f"{self.title} computes in {known} here, not in {_name(dtype)}")
        if threads is not None and threads < 1:
            raise UsageError(f"{threads} threads cannot compute: at least 1 is needed")
        return Setup(
            device=device, dtype=dtype, threads=threads or torch.get_num_threads(), batch=batch
        )


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
