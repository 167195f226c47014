"""The table of engines, and how a network gets into one of them."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from yoloprune.devices import AUTO, torch_device
from yoloprune.engines.engine import Engine, Runner, Setup
from yoloprune.engines.ncnn import NCNN
from yoloprune.engines.onnxruntime import ONNXRUNTIME
from yoloprune.engines.opencv import OPENCV
from yoloprune.engines.openvino import OPENVINO
from yoloprune.engines.torch import TORCH
from yoloprune.engines.zero_skipping import ZERO_SKIPPING
from yoloprune.errors import GraphError, UsageError, YoloPruneError
from yoloprune.frontends.onnx.document import OnnxDocument
from yoloprune.graph.model import Model

ENGINES: Mapping[str, Engine] = {
    engine.name: engine for engine in (TORCH, ONNXRUNTIME, OPENVINO, OPENCV, NCNN, ZERO_SKIPPING)
}

DEFAULT_ENGINE = TORCH.name


def engine_named(name: str) -> Engine:
    """The engine of this name; raises `UsageError` if there is none."""
    if name not in ENGINES:
        raise UsageError(f"engine {name!r} is not known: choose one of {', '.join(ENGINES)}")
    return ENGINES[name]


def run_in(
    source: Model | str | Path,
    engine: str = DEFAULT_ENGINE,
    *,
    device: str | torch.device = AUTO,
    dtype: torch.dtype = torch.float32,
    threads: int | None = None,
    batch: int | None = None,
) -> Runner:
    """Load a model, or a file that the engine reads itself, into an engine.

    Device `auto` is a GPU where the engine and torch have one, otherwise the CPU. `batch` fixes the
    number of images, which some engines repay with speed. Raises `UsageError` for settings or files
    that the engine does not know, `MissingDependencyError` where it is not installed, `GraphError`,
    now or when it computes, where it cannot run a network that came from an ONNX file.
    """
    row = engine_named(engine)
    row.require()
    place = torch_device(device)
    if device == AUTO and place.type not in row.devices:
        place = torch.device(row.devices[0])
    setup = row.setup(device=place, dtype=dtype, threads=threads, batch=batch)
    if isinstance(source, Model):
        return _foreign(row, source, setup) if _is_foreign(source) else row.load(source, setup)
    path = Path(source)
    if row.read is None or path.suffix.lower() not in row.suffixes:
        known = f"files ending in {', '.join(row.suffixes)}" if row.suffixes else "no files"
        raise UsageError(f"{path}: {row.title} reads {known}")
    return row.read(path, setup)


def _is_foreign(model: Model) -> bool:
    """Whether any program may have made a model, so that engines may not know what is in it."""
    return isinstance(model.document, OnnxDocument)


def _foreign(row: Engine, model: Model, setup: Setup) -> Runner:
    with _refusals(row.title):
        runner = row.load(model, setup)

    def compute(images: Tensor) -> tuple[Tensor, ...]:
        with _refusals(row.title):
            return runner.compute(images)

    return replace(runner, compute=compute)


@contextmanager
def _refusals(title: str) -> Iterator[None]:
    """Raise `GraphError` for whatever an engine raises."""
    try:
        yield
    except (YoloPruneError, MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise GraphError(f"{title} cannot run it: {reason}") from error
