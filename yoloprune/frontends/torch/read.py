"""Reading torch modules."""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

from torch import nn
from torch.nn.parameter import is_lazy

from yoloprune.errors import GraphError, UsageError
from yoloprune.frontends.onnx.arrays import with_parameters
from yoloprune.frontends.onnx.protos import first_line
from yoloprune.frontends.onnx.read import prepared, understood
from yoloprune.frontends.torch.checks import check_alone
from yoloprune.frontends.torch.document import ModuleDocument
from yoloprune.frontends.torch.exact import as_computed, narrowed, widened
from yoloprune.frontends.torch.export import as_inputs, exported, scopes, sizes_given, tensors_in
from yoloprune.frontends.torch.origins import Origin, named_tensors, origins
from yoloprune.graph.graph import Graph
from yoloprune.graph.model import Model
from yoloprune.graph.operators.tensors import tensor_of


def read(
    module: nn.Module,
    example_inputs: object,
    *,
    outputs: Callable[..., object] | None = None,
    dynamic_shapes: object = None,
    title: str | None = None,
) -> Model:
    """A module, which stays as it is, as a network in evaluation mode.

    `example_inputs` are what it is called with, a tensor or several; `outputs` chooses what counts
    in what it gives; sizes that may be others are named by `dynamic_shapes`, as `torch.export`
    takes them. Raises `GraphError` where torch cannot export the module or its graph cannot be
    understood, `UsageError` where there is no tensor in the example, and where parameters share
    memory.
    """
    title = title or type(module).__name__
    if any(map(is_lazy, (*module.parameters(), *module.buffers()))):
        raise UsageError(f"{title}: some parameters have no shape yet: call the module once before")
    check_alone(title, named_tensors(module), dict(module.named_parameters()))
    try:
        own = deepcopy(module).cpu().eval()
        inputs = tuple(
            each.detach().cpu() if hasattr(each, "detach") else each
            for each in deepcopy(as_inputs(example_inputs))
        )
    except (RuntimeError, TypeError) as error:
        raise UsageError(f"{title}: the module cannot be copied: {first_line(error)}") from error
    # Another copy: a module may remember what it was called with.
    called = deepcopy(own)
    if outputs is not None:
        called.register_forward_hook(lambda _, given, found: outputs(found))
    model = exported(called, inputs, dynamic_shapes)
    try:
        shapes = {
            value.name: [d.dim_value or d.dim_param for d in value.type.tensor_type.shape.dim]
            for value in model.graph.input
        }
        given = sizes_given(shapes, tensors_in(inputs))
        told = prepared(model)
        wide = widened(told)
        model, whole = understood(wide, Path(), given)
        if wide is not told:
            whole = narrowed(whole)
        found = origins(model, whole, own)
        whole, found = _one_of_alike(_without_zeros(as_computed(whole), found), found)
        graph = with_parameters(whole)
        if not _follows(graph):
            raise GraphError("nothing that it gives depends on what it is called with")
    except GraphError as error:
        raise GraphError(f"{title}: {error}") from error
    graph = replace(graph, alike=_read_often(graph, found))
    parameters = {name: tensor_of(whole.constants[name]) for name in graph.parameters}
    document = ModuleDocument(
        module=own,
        inputs=inputs,
        graph=graph,
        origins=found,
        scopes=scopes(model, own),
        title=title,
        chosen=outputs,
    )
    return Model(graph=graph, parameters=parameters, document=document)


def _follows(graph: Graph) -> bool:
    """Whether any output follows from the inputs."""
    reached = {*graph.inputs}
    for node in graph.nodes:
        if reached.intersection(node.inputs):
            reached.update(node.outputs)
    return bool(reached & graph.outputs.keys())


def _without_zeros(graph: Graph, found: dict[str, Origin]) -> Graph:
    """A graph without the biases of zeros that the exporter gives layers which have none."""
    nodes = []
    for node in graph.nodes:
        bias = node.inputs[2] if len(node.inputs) == 3 else ""
        added = bias in graph.constants and bias not in found and not graph.constants[bias].any()
        if added and node.operator in ("Conv", "ConvTranspose"):
            node = replace(node, inputs=node.inputs[:2])
        nodes.append(node)
    read = {name for node in nodes for name in node.inputs} | graph.outputs.keys()
    constants = {name: array for name, array in graph.constants.items() if name in read}
    return replace(graph, nodes=tuple(nodes), constants=constants)


def _one_of_alike(graph: Graph, found: dict[str, Origin]) -> tuple[Graph, dict[str, Origin]]:
    """A graph in which what is the same copy of a tensor has one name."""
    first: dict[tuple[str, bytes], str] = {}
    instead: dict[str, str] = {}
    for name, own in found.items():
        key = (own.tensor, b"" if own.places is None else own.places.tobytes())
        instead[name] = first.setdefault(key, name)
    nodes = tuple(
        replace(node, inputs=tuple(instead.get(name, name) for name in node.inputs))
        for node in graph.nodes
    )
    gone = {name for name, other in instead.items() if name != other} - graph.outputs.keys()
    constants = {name: a for name, a in graph.constants.items() if name not in gone}
    left = {name: own for name, own in found.items() if name in constants}
    return replace(graph, nodes=nodes, constants=constants), left


def _read_often(graph: Graph, found: dict[str, Origin]) -> tuple[str, ...]:
    """Tensors of the module that several nodes read: those are cut once for all."""
    counts: dict[str, int] = {}
    for node in graph.nodes:
        for name in node.inputs:
            if name in found:
                counts[name] = counts.get(name, 0) + 1
    return tuple(name for name, count in counts.items() if count > 1)
