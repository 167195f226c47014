"""Reading torch modules."""

from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

from yoloprune.errors import GraphError, UsageError
from yoloprune.frontends.onnx.arrays import with_parameters
from yoloprune.frontends.onnx.protos import first_line, node_names
from yoloprune.frontends.onnx.read import prepared, understood
from yoloprune.frontends.torch.checks import check_alone
from yoloprune.frontends.torch.document import ModuleDocument
from yoloprune.frontends.torch.exact import as_computed, narrowed, widened
from yoloprune.frontends.torch.export import as_inputs, exported, scopes, sizes_given, tensors_in
from yoloprune.frontends.torch.origins import Origin, named_tensors, origins
from yoloprune.graph.graph import Graph
from yoloprune.graph.model import Model
from yoloprune.graph.operators.tensors import tensor_of

if TYPE_CHECKING:
    import onnx


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
    if hasattr(module, "_orig_mod"):
        # Each trial would compile it anew.
        raise UsageError(f"{title}: a compiled module: give what was compiled, its `_orig_mod`")
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
        reason = _uncopied(module) or first_line(error)
        raise UsageError(f"{title}: the module cannot be copied: {reason}") from error
    # Another copy: a module may remember what it was called with.
    called = deepcopy(own)
    if outputs is not None:
        called.register_forward_hook(lambda _, given, found: outputs(found))
    model = exported(called, inputs, dynamic_shapes)
    places = scopes(model, own)
    try:
        _check_followed(model, places)
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
        scopes=places,
        title=title,
        chosen=outputs,
    )
    return Model(graph=graph, parameters=parameters, document=document)


def _uncopied(module: nn.Module) -> str | None:
    """What keeps a module from being copied, and what to do, where that is known."""
    for path, own in module.named_modules():
        for hook in own._forward_pre_hooks.values():
            if (name := _REMOVED_BY.get(type(hook))) is not None:
                return f"take away what normalizes it, by {name}(net.get_submodule('{path}'))"
        for name, value in vars(own).items():
            if isinstance(value, Tensor) and not value.is_leaf:
                return (
                    f"{path or type(own).__name__} keeps {name} of a call with its gradients: set "
                    "it to None, or call the module once within torch.no_grad()"
                )
    return None


_REMOVED_BY = {
    WeightNorm: "torch.nn.utils.remove_weight_norm",
    SpectralNorm: "torch.nn.utils.remove_spectral_norm",
}
"""Hooks that work a weight out before each call, and what removes them."""


def _check_followed(model: "onnx.ModelProto", places: Mapping[str, str]) -> None:
    """Raise `GraphError` for a recurrent layer, by its name."""
    for name, node in zip(node_names(model.graph.node), model.graph.node, strict=True):
        if node.op_type in ("LSTM", "GRU", "RNN"):
            raise GraphError(
                f"{places.get(name) or 'the module'} is recurrent ({node.op_type}), and what "
                "follows from one step to the next cannot be cut: prune the part before it, by a "
                "module that calls that part alone"
            )


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
