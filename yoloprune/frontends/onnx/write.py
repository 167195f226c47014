"""Writing ONNX files: the model that was read, with what its graph says otherwise."""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from yoloprune.errors import GraphError
from yoloprune.files import temporary_folder, write_atomically
from yoloprune.frontends.onnx.build import LARGEST, node_proto
from yoloprune.frontends.onnx.document import OnnxDocument
from yoloprune.frontends.onnx.protos import IN_TORCH, captured, files_beside, first_line, node_names
from yoloprune.graph.graph import Graph, Node
from yoloprune.graph.shapes import facts

if TYPE_CHECKING:
    import onnx

SMALLEST_APART = 1024
"""Bytes of an array that goes into a file of its own: sizes and bounds are read with the graph."""


NUMBERS = (
    "data_location",
    "double_data",
    "external_data",
    "float_data",
    "int32_data",
    "int64_data",
    "raw_data",
    "string_data",
    "uint64_data",
)
"""Fields of a tensor that hold its numbers, or tell where they are."""


def write(document: OnnxDocument, parameters: Mapping[str, Tensor], path: Path) -> tuple[Path, ...]:
    """Write what `written` gives; numbers that are too many, or were apart, into `path`.data.

    Gives the files, that of the numbers last.
    """
    writer = _Writer(document, parameters)
    size = writer.model.ByteSize() + sum(array.nbytes for array in writer.numbers.values())
    if files_beside(document.model, document.folder) or size > LARGEST:
        return _write_apart(writer, document.folder, path)
    model = writer.whole()
    with write_atomically(path) as temporary:
        temporary.write_bytes(model.SerializeToString(deterministic=True))
    return (path,)


def _write_apart(writer: "_Writer", folder: Path, path: Path) -> tuple[Path, ...]:
    """Numbers go from file or memory to file, tensor by tensor."""
    import onnx_ir

    own = onnx_ir.serde.deserialize_model(writer.model)
    for name, value in own.graph.initializers.items():
        if name in writer.numbers:
            value.const_value = onnx_ir.Tensor(writer.numbers[name], name=name)
    onnx_ir.external_data.set_base_dir(own.graph, folder)
    numbers = path.with_name(f"{path.name}.data")
    with temporary_folder(path.parent, path.name) as temporary:
        try:
            onnx_ir.save(
                own,
                temporary / path.name,
                external_data=numbers.name,
                size_threshold_bytes=SMALLEST_APART,
            )
        except (RuntimeError, TypeError, ValueError) as error:
            # Of a damaged file onnx-ir finds only now that it cannot be written.
            raise GraphError(f"{path}: it cannot be written: {first_line(error)}") from error
        written = tuple(target for target in (numbers, path) if (temporary / target.name).exists())
        for target in written:
            (temporary / target.name).replace(target)
    return written[::-1]


def written(document: OnnxDocument, parameters: Mapping[str, Tensor]) -> "onnx.ModelProto":
    """The model that a document's graph and these parameters are.

    What neither changes is as it was read, and stays in its own file if it was in one. Raises
    `GraphError` unless the parameters are those of the graph.
    """
    return _Writer(document, parameters).whole()


class _Writer:
    """A model that says what a graph says, but for `numbers`: the new ones of its initializers."""

    def __init__(self, document: OnnxDocument, parameters: Mapping[str, Tensor]) -> None:
        from onnx import ModelProto

        self.dense, self.slim = document.dense, document.graph
        _check(self.slim, parameters)
        self.model = ModelProto()
        self.model.CopyFrom(document.model)
        self.parameters = parameters
        self.numbers: dict[str, NDArray[Any]] = {}
        self.names = node_names(self.model.graph.node)
        self.read = self._readings()
        arrays = self._with_those_computed(self._changed(document.parameters, parameters))
        if self.slim is not self.dense:
            self._write_nodes()
        self._write_arrays(arrays)
        self._write_unheld()
        if self.slim is not self.dense:
            self._drop_unread()
            self._refresh_shapes()
            self._refresh_outputs()
        for entry in self.model.metadata_props:
            entry.value = document.restated.get(entry.key, entry.value)

    def whole(self) -> "onnx.ModelProto":
        """The model with its numbers."""
        from onnx.numpy_helper import from_array

        for tensor in self.model.graph.initializer:
            if tensor.name in self.numbers:
                array = self.numbers[tensor.name]
                # Of four bits, two go into a byte.
                plain = array.dtype.name in IN_TORCH
                tensor.raw_data = array.tobytes() if plain else from_array(array).raw_data
        return self.model

    def _readings(self) -> set[str]:
        graph = self.model.graph
        read = {name for node in graph.node for name in (*node.input, *captured(node))}
        return read | {value.name for value in graph.output}

    def _changed(
        self, before: Mapping[str, Tensor], parameters: Mapping[str, Tensor]
    ) -> dict[str, NDArray[Any] | Tensor]:
        """The arrays that the model does not hold yet, by name."""
        found: dict[str, NDArray[Any] | Tensor] = {
            name: tensor
            for name, tensor in parameters.items()
            if name not in before or not _equal(before[name], tensor)
        }
        for name, array in self.slim.constants.items():
            old = self.dense.constants.get(name)
            if old is not array and (old is None or not _same(old, array)):
                found[name] = array
        return found

    def _with_those_computed(
        self, arrays: dict[str, NDArray[Any] | Tensor]
    ) -> dict[str, NDArray[Any] | Tensor]:
        """Those arrays, and the ones that nodes outside the graph compute from any of them."""
        own = {node.name for node in self.dense.nodes}
        stale = set(arrays)
        for name, node in zip(self.names, self.model.graph.node, strict=True):
            if name not in own and stale.intersection(node.input):
                for output in node.output:
                    stale.add(output)
                    if output in self.parameters:
                        arrays.setdefault(output, self.parameters[output])
                    elif output in self.slim.constants:
                        arrays.setdefault(output, self.slim.constants[output])
        return arrays

    def _write_nodes(self) -> None:
        """Give nodes new inputs and attributes; put new ones in, and leave those out that went."""
        dense = {node.name: node for node in self.dense.nodes}
        protos = list(zip(self.names, self.model.graph.node, strict=True))
        nodes: list[onnx.NodeProto] = []
        position = 0
        for node in self.slim.nodes:
            if node.name not in dense:
                nodes.append(node_proto(node))
                continue
            while protos[position][0] != node.name:
                if protos[position][0] not in dense:
                    nodes.append(protos[position][1])
                position += 1
            proto = protos[position][1]
            _change(proto, dense[node.name], node)
            nodes.append(proto)
            position += 1
        nodes += [proto for name, proto in protos[position:] if name not in dense]
        kept = [type(proto).FromString(proto.SerializeToString()) for proto in nodes]
        del self.model.graph.node[:]
        self.model.graph.node.extend(kept)

    def _write_arrays(self, arrays: Mapping[str, NDArray[Any] | Tensor]) -> None:
        """Arrays that were computed from others are initializers from now on."""
        graph = self.model.graph
        initializers = {tensor.name: tensor for tensor in graph.initializer}
        inputs = {value.name: value for value in graph.input}
        replaced: set[str] = set()
        for name, array in arrays.items():
            tensor = initializers.get(name)
            if tensor is None:
                tensor = graph.initializer.add(name=name)
                replaced.add(name)
            self._set(tensor, array)
            if name in inputs or self.model.ir_version < 4:
                # Until then each initializer was an input, too.
                value = inputs[name] if name in inputs else graph.input.add(name=name)
                value.type.tensor_type.elem_type = tensor.data_type
                del value.type.tensor_type.shape.dim[:]
                for size in tensor.dims:
                    value.type.tensor_type.shape.dim.add(dim_value=size)
        for number in reversed(range(len(graph.node))):
            outputs = [name for name in graph.node[number].output if name]
            if replaced.intersection(outputs):
                self._replace(number, outputs, replaced)

    def _write_unheld(self) -> None:
        """Arrays whose numbers the document left to the parameters."""
        for tensor in self.model.graph.initializer:
            name = tensor.name
            if name in self.parameters and name not in self.numbers and not _holds_numbers(tensor):
                self._set(tensor, self.parameters[name])

    def _replace(self, number: int, outputs: list[str], replaced: set[str]) -> None:
        """Take away a node that gave arrays; those of its outputs that stay become arrays, too."""
        graph = self.model.graph
        for name in outputs:
            if name in replaced or name not in self.read:
                continue
            if name in self.parameters:
                self._set(graph.initializer.add(name=name), self.parameters[name])
            elif name in self.slim.constants:
                self._set(graph.initializer.add(name=name), self.slim.constants[name])
        del graph.node[number]

    def _set(self, tensor: "onnx.TensorProto", array: NDArray[Any] | Tensor) -> None:
        """Give a tensor other numbers; one that is there already keeps its dtype."""
        from onnx.helper import np_dtype_to_tensor_dtype, tensor_dtype_to_np_dtype

        if isinstance(array, Tensor):
            array = array.detach().cpu()
            array = (array.float() if array.dtype == torch.bfloat16 else array).numpy()
        if not tensor.data_type:
            tensor.data_type = np_dtype_to_tensor_dtype(array.dtype)
        array = array.astype(tensor_dtype_to_np_dtype(tensor.data_type), copy=False)
        for field in NUMBERS:
            tensor.ClearField(field)
        tensor.dims[:] = array.shape
        self.numbers[tensor.name] = array

    def _drop_unread(self) -> None:
        """Take away what nothing reads any more: arrays, and nodes of which nothing is left."""
        graph = self.model.graph
        while gone := self.read - (read := self._readings()):
            for number in reversed(range(len(graph.node))):
                outputs = {name for name in graph.node[number].output if name}
                if outputs & gone and not outputs & read:
                    del graph.node[number]
            arrays = gone.intersection(tensor.name for tensor in graph.initializer)
            _drop(graph.initializer, arrays)
            _drop(graph.input, arrays)
            self.read = read

    def _refresh_outputs(self) -> None:
        """Give outputs the sizes that they have now."""
        for value in self.model.graph.output:
            old, new = (graph.outputs[value.name].shape for graph in (self.dense, self.slim))
            for size, a, b in zip(value.type.tensor_type.shape.dim, old, new, strict=False):
                if a != b:
                    size.dim_value = int(b)

    def _refresh_shapes(self) -> None:
        """Give values the sizes that they have now; forget those of values that are gone."""
        graph = self.model.graph
        try:
            before, after = facts(self.dense).shapes, facts(self.slim).shapes
        except GraphError:
            del graph.value_info[:]
            return
        given = {name for node in graph.node for name in node.output}
        _drop(graph.value_info, {value.name for value in graph.value_info} - given)
        for value in graph.value_info:
            old, new = before.get(value.name), after.get(value.name)
            if old is None or new is None or old == new:
                continue
            sizes = value.type.tensor_type.shape.dim
            if len(sizes) != len(new) or len(old) != len(new):
                value.type.tensor_type.ClearField("shape")
                continue
            for size, a, b in zip(sizes, old, new, strict=True):
                if a != b:
                    size.dim_value = b


def _check(graph: Graph, parameters: Mapping[str, Tensor]) -> None:
    wanted = {name: parameter.shape for name, parameter in graph.parameters.items()}
    if (found := {name: tuple(t.shape) for name, t in parameters.items()}) != wanted:
        names = wanted.keys() | found.keys()
        odd = sorted(name for name in names if wanted.get(name) != found.get(name))
        raise GraphError(f"the arrays are not those of the graph: {', '.join(odd[:5])} differ")


def _equal(a: Tensor, b: Tensor) -> bool:
    return a is b or (a.dtype == b.dtype and torch.equal(a, b.to(a.device)))


def _same(a: NDArray[Any], b: NDArray[Any]) -> bool:
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


def _holds_numbers(tensor: "onnx.TensorProto") -> bool:
    if tensor.HasField("raw_data"):  # Which would be copied to be looked at.
        return True
    return any(getattr(tensor, field) for field in NUMBERS)


def _drop(values: Any, names: Collection[str]) -> None:
    """Leave out of a protobuf's list what has these names."""
    for number in reversed(range(len(values))):
        if values[number].name in names:
            del values[number]


def _change(proto: "onnx.NodeProto", before: Node, after: Node) -> None:
    """Write into a node what it reads and is told otherwise than before."""
    from onnx import helper

    if after.operator != before.operator:
        # A sum of which one term is left hands it on.
        proto.op_type, proto.domain = after.operator, ""
        del proto.attribute[:]
    # What its bodies capture stands behind its inputs; a filling stands before them.
    shift = 1 if proto.op_type == "ConstantOfShape" else 0
    for position, name in enumerate(after.inputs[shift:]):
        if position >= len(proto.input) or name != before.inputs[position + shift]:
            if position < len(proto.input):
                proto.input[position] = name
            elif position + shift >= len(before.inputs):
                proto.input.append(name)
    if len(after.inputs) < len(before.inputs):
        del proto.input[len(after.inputs) - shift :]
    if after.outputs != before.outputs:
        del proto.output[:]
        proto.output.extend(after.outputs)
    for name, value in after.attributes.items():
        if before.attributes.get(name) != value:
            _drop(proto.attribute, {name})
            proto.attribute.append(helper.make_attribute(name, value))
