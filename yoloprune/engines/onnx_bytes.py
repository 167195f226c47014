"""Models as ONNX files in memory, for engines that read those."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from yoloprune.exporters.onnx_model import onnx_model
from yoloprune.graph.graph import Graph, ValueType
from yoloprune.graph.model import Model


def onnx_bytes(model: Model, batch: int | None = None) -> bytes:
    """A model as an ONNX file, float32, for any number of images or for `batch` alone."""
    graph = model.graph if batch is None else fixed_batch(model.graph, batch)
    written: bytes = onnx_model(graph, float32_arrays(model.parameters)).SerializeToString()
    return written


def float32_arrays(parameters: Mapping[str, Tensor]) -> dict[str, NDArray[Any]]:
    """Parameters as a file has them."""
    return {
        name: tensor.detach().to("cpu", torch.float32).numpy()
        for name, tensor in parameters.items()
    }


def fixed_batch(graph: Graph, batch: int) -> Graph:
    """A graph for this number of images alone, where it was for any."""

    def sizes(shape: tuple[int | str, ...]) -> tuple[int | str, ...]:
        return tuple(batch if isinstance(size, str) else size for size in shape)

    def fixed(values: Mapping[str, ValueType]) -> dict[str, ValueType]:
        return {name: replace(value, shape=sizes(value.shape)) for name, value in values.items()}

    return replace(graph, inputs=fixed(graph.inputs), outputs=fixed(graph.outputs))
