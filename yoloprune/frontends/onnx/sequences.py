"""Sequences that only hold the parts of a value: as the parts themselves."""

from collections import defaultdict
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from yoloprune.frontends.onnx.protos import array_of, captured

if TYPE_CHECKING:
    import onnx


MOST_PARTS = 1 << 12
"""Parts of a value that become outputs of a node."""


def without_sequences(model: "onnx.ModelProto") -> "onnx.ModelProto":
    """A model that splits values where it put their parts into a sequence and took them out again.

    That is how `torch.onnx` writes `chunk` and `split`. Other sequences stay.
    """
    if not any(node.op_type == "SplitToSequence" for node in model.graph.node):
        return model
    result = type(model)()
    result.CopyFrom(model)
    graph = result.graph
    numbers = _whole_numbers(result)
    readers: dict[str, list[onnx.NodeProto]] = defaultdict(list)
    closed = {value.name for value in graph.output}
    for node in graph.node:
        for name in set(node.input):
            readers[name].append(node)
        closed.update(captured(node))
    for node in graph.node:
        known = len(node.input) > 0 and len(node.output) == 1
        if node.op_type == "SplitToSequence" and known and node.output[0] not in closed:
            _split(result, node, readers[node.output[0]], numbers)
    return result


def _whole_numbers(model: "onnx.ModelProto") -> dict[str, list[int]]:
    """The numbers of small arrays of whole numbers, by name."""
    from onnx import TensorProto

    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        value = node.attribute[0].name if len(node.attribute) == 1 else ""
        if node.op_type == "Constant" and value == "value" and len(node.output):
            tensors[node.output[0]] = node.attribute[0].t
    return {
        name: array_of(tensor, Path()).reshape(-1).tolist()
        for name, tensor in tensors.items()
        if tensor.data_type == TensorProto.INT64
        and len(tensor.dims) < 2
        and not tensor.external_data
    }


def _split(
    model: "onnx.ModelProto",
    node: "onnx.NodeProto",
    readers: "list[onnx.NodeProto]",
    numbers: dict[str, list[int]],
) -> None:
    """Make a `Split` of a node, if its parts are known, and a name for a part of each reader."""
    attributes = {attribute.name: attribute.i for attribute in node.attribute}
    sizes = _sizes(model, node, attributes.get("axis", 0), numbers)
    taken = [
        numbers.get(reader.input[1])
        for reader in readers
        if reader.op_type == "SequenceAt" and len(reader.input) == 2
    ]
    if not sizes or None in taken or len(taken) < len(readers):
        return
    if any(not index or not -len(sizes) <= index[0] < len(sizes) for index in taken):
        return
    if len(node.input) < 2 and not attributes.get("keepdims", 1):
        return
    parts = [f"{node.output[0]}.{number}" for number in range(len(sizes))]
    for reader, index in zip(readers, taken, strict=True):
        assert index is not None
        reader.op_type = "Identity"
        del reader.input[:]
        reader.input.append(parts[index[0] % len(sizes)])
    counts = f"{node.output[0]}.sizes"
    model.graph.initializer.add(name=counts, data_type=7, dims=[len(sizes)], int64_data=sizes)
    axis = attributes.get("axis", 0)
    value = node.input[0]
    del node.input[:], node.output[:], node.attribute[:]
    node.op_type = "Split"
    node.input.extend([value, counts])
    node.output.extend(parts)
    node.attribute.add(name="axis", type=2, i=axis)


def _sizes(
    model: "onnx.ModelProto", node: "onnx.NodeProto", axis: int, numbers: dict[str, list[int]]
) -> list[int] | None:
    """How long the parts are; None where that is not known."""
    told = numbers.get(node.input[1]) if len(node.input) > 1 else [1]
    if told is None or len(told) > 1:
        return told
    told_of = (model.graph.value_info, model.graph.input, model.graph.output)
    for value in chain(*told_of):
        if value.name == node.input[0]:
            sizes = value.type.tensor_type.shape.dim
            size = sizes[axis].dim_value if -len(sizes) <= axis < len(sizes) else 0
            whole, rest = divmod(size, told[0]) if told[0] > 0 else (0, 0)
            return [told[0]] * whole + [rest] * bool(rest) if whole < MOST_PARTS else None
    return None
