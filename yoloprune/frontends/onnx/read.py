"""Reading ONNX files."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from yoloprune.errors import GraphError, MissingDependencyError
from yoloprune.files import plain_size
from yoloprune.frontends.onnx.apart import converted
from yoloprune.frontends.onnx.arrays import with_parameters
from yoloprune.frontends.onnx.checks import check, check_signatures
from yoloprune.frontends.onnx.document import OnnxDocument
from yoloprune.frontends.onnx.lower import lower, opset_of
from yoloprune.frontends.onnx.protos import IN_TORCH, captured, files_beside
from yoloprune.frontends.onnx.sequences import without_sequences
from yoloprune.frontends.onnx.sizes import sized
from yoloprune.graph.graph import Graph
from yoloprune.graph.model import Model
from yoloprune.graph.operators.tensors import tensor_of

if TYPE_CHECKING:
    import onnx

EXACT = (1, 2, 3, 10, 11)
"""ONNX's codes of dtypes whose numbers torch holds bit by bit."""

LARGE = 1 << 20
"""Bytes of an array that a model does not hold beside the parameters."""

OPSETS = range(11, 24)
"""Versions of ONNX's operators that are understood; older ones are converted to the first."""


def read(path: Path, title: str | None = None) -> Model:
    """The network in an ONNX file, by the file's name where it has no other `title`.

    Functions are inlined and nodes sorted. Raises `GraphError` for what is no ONNX model or cannot
    be understood, `MissingDependencyError` where a package is not installed, `OSError` where there
    is no such file.
    """
    try:
        model, whole = understood(_parsed(path), path.parent)
        graph = with_parameters(whole)
    except ImportError as error:
        raise MissingDependencyError(
            f"ONNX files need the package {error.name}: pip install 'yoloprune[export]'"
        ) from error
    except GraphError as error:
        raise GraphError(f"{path}: {error}") from error
    parameters = {name: _tensor(whole.constants[name]) for name in graph.parameters}
    model = _without_large(model, parameters)
    document = OnnxDocument(
        model=model,
        folder=path.parent,
        dense=graph,
        parameters=parameters,
        graph=graph,
        title=title or path.stem,
        source=(path, *files_beside(model, path.parent)),
    )
    return Model(graph=graph, parameters=parameters, document=document)


def understood(
    model: "onnx.ModelProto", folder: Path, sizes: Mapping[str, int] | None = None
) -> tuple["onnx.ModelProto", Graph]:
    """A model without functions, sorted, and its graph, whose arrays are constants all.

    Sizes that it leaves open are these, or else tried. Raises `GraphError` for what cannot be
    understood.
    """
    model = prepared(model)
    graph = lower(model, folder)
    return model, sized(graph, model, folder, None if sizes is None else [sizes])


def _without_large(model: "onnx.ModelProto", parameters: Mapping[str, Tensor]) -> "onnx.ModelProto":
    """The model without the numbers of large arrays, which the writer takes from the parameters."""
    for tensor in model.graph.initializer:
        own = parameters.get(tensor.name)
        if own is not None and own.nbytes > LARGE and tensor.data_type in EXACT:
            tensor.ClearField("raw_data")
    # Only with all of a message does protobuf free its memory.
    result = type(model)()
    result.CopyFrom(model)
    return result


def _tensor(array: NDArray[Any]) -> Tensor:
    """A tensor of these numbers; of a file's, not read before they are needed."""
    if isinstance(array, np.memmap) and array.dtype.name in IN_TORCH:
        return torch.from_numpy(array)
    return tensor_of(array)


def _parsed(path: Path) -> "onnx.ModelProto":
    import onnx
    from google.protobuf.message import DecodeError

    plain_size(path)
    try:
        model = onnx.load_model(path, load_external_data=False)
    except DecodeError as error:
        raise GraphError("this is no ONNX file, or it is damaged") from error
    if not model.graph.node:
        raise GraphError("this is no ONNX file, or its graph has no nodes")
    if not model.graph.output:
        raise GraphError("its graph gives nothing: it has no outputs")
    check(model, path.parent)
    return model


def prepared(model: "onnx.ModelProto") -> "onnx.ModelProto":
    """A model of opsets that are understood, without functions, whose nodes are sorted."""
    opset = opset_of(model)
    if opset < 1:
        raise GraphError(f"it is written in opset {opset}, and the first is 1: it is damaged")
    if opset >= OPSETS.stop:
        raise GraphError(
            f"it is written in opset {opset}, of which {OPSETS.stop - 1} is the newest that is "
            "understood: export it with an older one"
        )
    check_signatures(model, opset)
    if model.functions or opset < OPSETS.start:
        opset = max(opset, OPSETS.start)
        model = converted(model, opset)
        check_signatures(model, opset)
    model = without_sequences(model)
    return model if _is_sorted(model.graph) else _sorted(model)


def _is_sorted(graph: "onnx.GraphProto") -> bool:
    known = {value.name for value in (*graph.input, *graph.initializer)}
    for node in graph.node:
        if any(name and name not in known for name in (*node.input, *captured(node))):
            return False
        known.update(node.output)
    return True


def _sorted(model: "onnx.ModelProto") -> "onnx.ModelProto":
    """The same with its nodes in an order in which they can be computed, if there is one."""
    waiting = list(model.graph.node)
    known = {value.name for value in (*model.graph.input, *model.graph.initializer)}
    given = known | {name for node in waiting for name in node.output}
    ordered = []
    readers: dict[str, list[int]] = {}
    missing = []
    for number, node in enumerate(waiting):
        names = {name for name in (*node.input, *captured(node)) if name and name not in known}
        if lost := sorted(names - given):
            raise GraphError(
                f"the node {node.name or node.output[0]} reads {lost[0]}, which nothing gives"
            )
        missing.append(len(names))
        for name in names:
            readers.setdefault(name, []).append(number)
    ready = [number for number, count in enumerate(missing) if not count][::-1]
    while ready:
        number = ready.pop()
        ordered.append(waiting[number])
        for name in waiting[number].output:
            for reader in readers.get(name, []):
                missing[reader] -= 1
                if not missing[reader]:
                    ready.append(reader)
    if len(ordered) < len(waiting):
        raise GraphError("its nodes read one another in a circle")
    result = type(model)()
    result.CopyFrom(model)
    del result.graph.node[:]
    result.graph.node.extend(ordered)
    return result
