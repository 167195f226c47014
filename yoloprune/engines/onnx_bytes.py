"""Models as ONNX files in memory, for engines that read those."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from yoloprune.frontends.onnx.build import onnx_model
from yoloprune.frontends.onnx.document import OnnxDocument
from yoloprune.frontends.onnx.write import written
from yoloprune.graph.graph import Graph, ValueType
from yoloprune.graph.model import Model


def onnx_bytes(model: Model, batch: int | None = None) -> bytes:
    """A model as an ONNX file, for any number of images or for `batch` alone.

    One that was read from such a file is that file, any other is in float32.
    """
    if isinstance(model.document, OnnxDocument):
        return _as_it_is(model.document, model.parameters, batch)
    graph = model.graph if batch is None else fixed_batch(model.graph, batch)
    # Numbers of a module's code are kept in float64, which ONNX does not mix with float32.
    constants = {
        name: array.astype(np.float32) if array.dtype == np.float64 else array
        for name, array in graph.constants.items()
    }
    graph = replace(graph, constants=constants)
    written: bytes = onnx_model(graph, float32_arrays(model.parameters)).SerializeToString()
    return written


def _as_it_is(document: OnnxDocument, parameters: Mapping[str, Tensor], batch: int | None) -> bytes:
    """The file that would be written, whole, its numbers and all."""
    from onnx import load_external_data_for_model

    proto = written(document, parameters)
    load_external_data_for_model(proto, str(document.folder))
    if batch is not None:
        shapes = [list(value.type.tensor_type.shape.dim) for value in proto.graph.input]
        names = {sizes[0].dim_param for sizes in shapes if sizes} - {""}
        for value in (*proto.graph.input, *proto.graph.output, *proto.graph.value_info):
            for size in value.type.tensor_type.shape.dim:
                if size.dim_param in names:
                    size.dim_value = batch
    given: bytes = proto.SerializeToString()
    return given


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
