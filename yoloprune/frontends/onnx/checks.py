"""What is checked of a model from outside before anything in it is made use of."""

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from yoloprune.errors import GraphError
from yoloprune.escapes import printable
from yoloprune.frontends.onnx.protos import OWN_DOMAINS, node_protos, subgraphs, tensor_protos

if TYPE_CHECKING:
    import onnx

_Function: TypeAlias = tuple[str, str, str]

PLACED_BY = ("basepath", "checksum", "length", "location", "offset")
"""What is said of an array in a file of its own."""

MOST_NODES = 1 << 19
"""Nodes of a model whose functions are inlined."""


def check(model: "onnx.ModelProto", folder: Path) -> None:
    """Raise `GraphError` for names that cannot be shown, arrays elsewhere, functions without end.

    Names are printed, arrays are looked for beside the file alone, in `folder`, and functions are
    written out wherever they are called.
    """
    for text in (*_names(model), *_texts(model)):
        if isinstance(text, bytes):
            # What is no text protobuf gives as bytes.
            raise GraphError(f"{text[:99]!r} in it is no text")
    for name in _names(model):
        assert isinstance(name, str)
        if not name.isprintable() and printable(name) != name:
            raise GraphError(f"the name {name[:99]!r} in it holds signs that cannot be shown")
    for values in (model.graph.input, model.graph.initializer):
        if twice := [name for name, n in Counter(own.name for own in values).items() if n > 1]:
            raise GraphError(f"the name {twice[0]!r} is given twice")
    for tensor in tensor_protos(model):
        place = ""
        for entry in tensor.external_data:
            if entry.key == "location":
                place = entry.value
            elif entry.key not in PLACED_BY:
                raise GraphError(f"the array {tensor.name!r} is placed by {entry.key!r}")
        if tensor.data_location == tensor.EXTERNAL or len(tensor.external_data):
            _check_place(tensor.name, place, folder)
    for node in node_protos(model):
        for attribute in node.attribute:
            if not attribute.type:
                raise GraphError(f"node {node.name} ({node.op_type}) has an attribute of no type")
    _check_functions(model)


def check_signatures(model: "onnx.ModelProto", opset: int) -> None:
    """Raise `GraphError` for a node of ONNX's own that is given what its operator does not take.

    That is more or fewer inputs or outputs, or an attribute of another type. What ONNX does not
    know of is not checked.
    """
    from onnx import defs

    for node in model.graph.node:
        if node.domain not in OWN_DOMAINS:
            continue
        # An operator that this version does not have yet is taken for what it became.
        if not defs.has(node.op_type):
            continue
        known = defs.has(node.op_type, opset)
        schema = defs.get_schema(node.op_type, opset if known else defs.onnx_opset_version())
        title = f"node {node.name or next(iter(node.output), '')} ({node.op_type})"
        for what, found, least, most in (
            ("reads", len(node.input), schema.min_input, schema.max_input),
            ("gives", len(node.output), schema.min_output, schema.max_output),
        ):
            if not least <= found <= most:
                raise GraphError(
                    f"{title} {what} {found} values, of which it takes {least} "
                    + (f"to {most}" if most > least else "alone")
                )
        for attribute in node.attribute:
            wanted = schema.attributes.get(attribute.name)
            if wanted is None and attribute.type in (attribute.GRAPH, attribute.GRAPHS):
                raise GraphError(f"{title} has a body, {attribute.name}, that it does not run")
            if wanted is not None and attribute.type != wanted.type:
                raise GraphError(f"{title} has {attribute.name} in another type than its operator")


def _names(model: "onnx.ModelProto") -> "Iterator[str | bytes]":
    for node in node_protos(model):
        yield from (node.name, node.op_type, node.domain, *node.input, *node.output)
        yield from (attribute.name for attribute in node.attribute)
    graph = model.graph
    for own in (*graph.input, *graph.output, *graph.initializer):
        yield own.name
    for value in graph.input:
        yield from (size.dim_param for size in value.type.tensor_type.shape.dim)


def _texts(model: "onnx.ModelProto") -> "Iterator[str | bytes]":
    for own in model.metadata_props:
        yield from (own.key, own.value)
    for tensor in tensor_protos(model):
        for own in tensor.external_data:
            yield from (own.key, own.value)


def _check_place(name: str, place: str, folder: Path) -> None:
    if not place:
        raise GraphError(f"the array {name!r} is in a file of its own, of which it says no name")
    # A zero byte ends a name early, for those who open the file.
    if "\0" in place or not (folder / place).resolve().is_relative_to(folder.resolve()):
        raise GraphError(f"the array {name!r} is said to be in {place!r}, beyond the file's folder")
    if not (folder / place).is_file():
        raise GraphError(
            f"the array {name!r} is in {place!r}, which is not beside the file: put it there"
        )


def _check_functions(model: "onnx.ModelProto") -> None:
    """Functions call no circle of one another, and unfold into a bounded number of nodes."""
    calls = {_called(own, own.name): own.node for own in model.functions}
    sizes: dict[_Function, int] = {}
    for start in calls:
        waiting = [start]
        while waiting:
            own = waiting[-1]
            inner = {_called(n, n.op_type) for n in _within(calls[own])} & calls.keys()
            if missing := [called for called in inner if called not in sizes]:
                if any(called in waiting for called in missing):
                    raise GraphError(f"its function {own[1]} calls itself")
                waiting += missing[:1]
                continue
            sizes[own] = _unfolded(calls[own], sizes)
            waiting.pop()
    if _unfolded(model.graph.node, sizes) > MOST_NODES:
        raise GraphError(f"its functions unfold into more than {MOST_NODES} nodes")


def _called(own: "onnx.NodeProto | onnx.FunctionProto", name: str) -> _Function:
    # Older versions of onnx know no overloads.
    return own.domain, name, getattr(own, "overload", "")


def _within(nodes: "onnx.NodeProto") -> "Iterator[onnx.NodeProto]":
    for node in nodes:
        yield node
        for body in subgraphs(node):
            yield from _within(body.node)


def _unfolded(nodes: "onnx.NodeProto", sizes: Mapping[_Function, int]) -> int:
    total = sum(sizes.get(_called(node, node.op_type), 1) for node in _within(nodes))
    return min(total, MOST_NODES + 1)
