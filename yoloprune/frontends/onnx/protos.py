"""How the nodes, arrays and attributes of ONNX's protobufs are called and written here."""

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from yoloprune.errors import GraphError
from yoloprune.graph.graph import Attribute

if TYPE_CHECKING:
    import onnx

IN_TORCH = ("float16", "float32", "float64", "int8", "uint8")
"""numpy's names of dtypes that torch reads in place."""

LONGEST_TEXTS = 1 << 22
"""Letters of the longest text in an array, times how many there are."""

OWN_DOMAINS = ("", "ai.onnx")
"""How models call the domain of ONNX's own operators."""


def node_names(nodes: "Sequence[onnx.NodeProto]") -> list[str]:
    """A name for each node: its own, or where that says nothing its first output's."""
    given = Counter(node.name for node in nodes)
    taken = {name for name, times in given.items() if times == 1}
    names = []
    for number, node in enumerate(nodes):
        name = node.name
        if not name or given[name] > 1:
            name = next(filter(None, node.output), f"node_{number}")
            while name in taken:
                name += "_"
            taken.add(name)
        names.append(name)
    return names


def operator_name(node: "onnx.NodeProto") -> str:
    """The operator's name, behind its domain where that is not ONNX's own."""
    return node.op_type if node.domain in OWN_DOMAINS else f"{node.domain}.{node.op_type}"


def subgraphs(node: "onnx.NodeProto") -> "list[onnx.GraphProto]":
    """The bodies that a node runs."""
    from onnx import AttributeProto

    found = [a.g for a in node.attribute if a.type == AttributeProto.GRAPH]
    for attribute in node.attribute:
        if attribute.type == AttributeProto.GRAPHS:
            found += attribute.graphs
    return found


def captured(node: "onnx.NodeProto") -> list[str]:
    """Names that the bodies of a node read from outside, in order."""
    found: dict[str, None] = {}
    for body in subgraphs(node):
        own = {value.name for value in (*body.input, *body.initializer)}
        for inner in body.node:
            for name in (*inner.input, *captured(inner)):
                if name and name not in own:
                    found[name] = None
            own.update(inner.output)
        for value in body.output:
            if value.name not in own:
                found[value.name] = None
    return list(found)


def attributes_of(node: "onnx.NodeProto") -> dict[str, Attribute]:
    """What a node is told; of bodies and other things that operators here do not know, a digest."""
    return {attribute.name: _attribute(attribute) for attribute in node.attribute}


def _attribute(attribute: "onnx.AttributeProto") -> Attribute:
    from onnx import AttributeProto

    match attribute.type:
        case AttributeProto.INT:
            return attribute.i
        case AttributeProto.FLOAT:
            return attribute.f
        case AttributeProto.STRING:
            return attribute.s.decode(errors="replace")
        case AttributeProto.INTS:
            return tuple(attribute.ints)
        case AttributeProto.FLOATS:
            return tuple(attribute.floats)
        case AttributeProto.STRINGS:
            return tuple(text.decode(errors="replace") for text in attribute.strings)
        case _:
            return hashlib.sha256(attribute.SerializeToString(deterministic=True)).hexdigest()


def array_of(tensor: "onnx.TensorProto", folder: Path) -> NDArray[Any]:
    """The numbers of a tensor; those in a file of their own are mapped, not read yet.

    Raises `GraphError` where they are not there, or not as many as its shape says.
    """
    from onnx_ir import ExternalTensor
    from onnx_ir.serde import deserialize_tensor

    if min(tensor.dims, default=0) < 0:
        raise GraphError(f"the array {tensor.name!r} has the shape {tuple(tensor.dims)}")
    try:
        found = deserialize_tensor(tensor, folder)
        array = np.asarray(found.numpy())
        if isinstance(found, ExternalTensor) and array.size and found.nbytes == array.nbytes:
            # Read as it is needed, and written to by whoever does, if not to the file.
            place = folder / found.location
            array = np.memmap(place, array.dtype, "c", found.offset or 0, array.shape)
        return _texts(array) if array.dtype == object else array
    except GraphError:
        raise
    except Exception as error:
        # onnx-ir raises what numpy, the operating system and protobuf happen to raise.
        raise GraphError(
            f"the array {tensor.name!r} cannot be read: {first_line(error.__cause__ or error)}"
        ) from error


def _texts(array: NDArray[Any]) -> NDArray[Any]:
    """Texts in an array of numpy's, which gives each the room of the longest."""
    texts = [
        own.decode(errors="replace") if isinstance(own, bytes) else str(own)
        for own in array.reshape(-1).tolist()
    ]
    if max(map(len, texts), default=0) * len(texts) > LONGEST_TEXTS:
        raise GraphError("an array of texts is too large to be read")
    return np.array(texts, dtype=str).reshape(array.shape)


def constant_of(node: "onnx.NodeProto", folder: Path) -> NDArray[Any]:
    """The numbers of a `Constant`."""
    for attribute in node.attribute:
        match attribute.name:
            case "value":
                return array_of(attribute.t, folder)
            case "value_float":
                return np.array(attribute.f, np.float32)
            case "value_int":
                return np.array(attribute.i, np.int64)
            case "value_floats":
                return np.array(attribute.floats, np.float32)
            case "value_ints":
                return np.array(attribute.ints, np.int64)
            case "value_string" | "value_strings":
                texts = [attribute.s] if attribute.name == "value_string" else attribute.strings
                array = _texts(np.array(texts, dtype=object))
                return array.reshape(()) if attribute.name == "value_string" else array
    raise GraphError(f"the Constant {node.output[0]} holds nothing that is understood")


def node_protos(model: "onnx.ModelProto") -> "Iterator[onnx.NodeProto]":
    """Every node of a model, those of bodies and functions too."""
    pending = [model.graph.node, *(function.node for function in model.functions)]
    while pending:
        for node in pending.pop():
            yield node
            pending += [body.node for body in subgraphs(node)]


def tensor_protos(model: "onnx.ModelProto") -> "Iterator[onnx.TensorProto]":
    """Every array of a model, those of nodes' attributes, of bodies and of functions too."""
    yield from model.graph.initializer
    for node in node_protos(model):
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
            for own in (attribute.sparse_tensor, *attribute.sparse_tensors):
                yield from (own.values, own.indices)
        for body in subgraphs(node):
            yield from body.initializer


def files_beside(model: "onnx.ModelProto", folder: Path) -> tuple[Path, ...]:
    """The files in which a model's arrays are that it does not hold itself, in order."""
    names = {
        entry.value: None
        for tensor in tensor_protos(model)
        for entry in tensor.external_data
        if entry.key == "location"
    }
    return tuple(folder / name for name in names)


def first_line(error: BaseException) -> str:
    """What an error of another library says, in a line."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
