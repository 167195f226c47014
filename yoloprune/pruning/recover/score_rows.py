"""Which filters of a network give the logits of its scores.

They are those of the last layers: on the way from these to the outputs there is no other layer.
Which of their filters, the gradients of the scores tell, whatever moves lie between.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from yoloprune.execution.stream import arrays_like, computed, only_input
from yoloprune.graph.graph import Graph
from yoloprune.pruning.groups import analyze
from yoloprune.pruning.layers import Arrays, Layer, by_filter, layers_of
from yoloprune.pruning.recover.layer import can_be_fitted


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """Which entries of an output are scores.

    Attributes:
        axis: along which they lie.
        objectness: entries that say whether there is an object.
        classes: those that say of which class it is.
        shares: whether who reads the output makes shares of all classes of them.
    """

    axis: int
    objectness: tuple[int, ...] = ()
    classes: tuple[int, ...] = ()
    shares: bool = False


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ScoreRows:
    """Filters of a layer that give logits, and the value in which these are.

    `shares` tells that what becomes of them are shares of all classes.
    """

    layer: Layer
    value: str
    filters: tuple[int, ...]
    shares: bool


def score_rows(
    network: tuple[Graph, Arrays], images: Tensor, scored: Mapping[str, Scored]
) -> tuple[list[ScoreRows], ...]:
    """The rows of objectness, and those of classes, in the order of the layers.

    `images` (B, C, H, W) are as many as the network can read at once. Layers whose arrays others
    read too, or that have no constant, are left out.
    """
    graph, parameters = network
    last = [layer for layer in _last_layers(graph) if can_be_fitted(layer) and _has_constant(layer)]
    arrays = arrays_like(graph, parameters, images)
    kernels = [arrays[layer.kernel].requires_grad_() for layer in last]
    outputs = computed(graph, arrays, {only_input(graph): images}, scored)
    if not last:
        return [], []
    counts = [
        [
            by_filter(layer, kernel).flatten(1).abs().sum(dim=1)
            for layer, kernel in zip(last, _gradients(total, kernels), strict=True)
        ]
        for total in (_sum(outputs, scored, "objectness"), _sum(outputs, scored, "classes"))
    ]
    shares = any(own.shares for own in scored.values())
    return tuple(
        [
            ScoreRows(
                layer=layer,
                value=_value(graph, layer),
                filters=tuple(torch.nonzero((own > 0) & ~(other > 0)).flatten().tolist()),
                shares=kind == 1 and (shares or "Softmax" in _operators_after(graph, layer)),
            )
            for layer, own, other in zip(last, counts[kind], counts[1 - kind], strict=True)
            if ((own > 0) & ~(other > 0)).any()
        ]
        for kind in (0, 1)
    )


def _sum(outputs: Mapping[str, Tensor], scored: Mapping[str, Scored], kind: str) -> Tensor | None:
    """The sum of all scores of a kind, each times another number: shares of a whole add up to 1."""
    generator = torch.Generator().manual_seed(0)
    found = []
    for name, own in scored.items():
        if entries := getattr(own, kind):
            output = outputs[name]
            part = output.index_select(own.axis, torch.tensor(entries, device=output.device))
            factors = torch.rand(part.shape, generator=generator) + 0.5
            found.append((part * factors.to(part)).sum())
    return torch.stack(found).sum() if found else None


def _gradients(total: Tensor | None, kernels: Sequence[Tensor]) -> list[Tensor]:
    if total is None or not total.requires_grad:
        return [torch.zeros_like(kernel) for kernel in kernels]
    found = torch.autograd.grad(total, kernels, retain_graph=True, allow_unused=True)
    return [
        torch.zeros_like(kernel) if own is None else own
        for own, kernel in zip(found, kernels, strict=True)
    ]


def _has_constant(layer: Layer) -> bool:
    return layer.bias is not None or layer.norm is not None


def _last_layers(graph: Graph) -> list[Layer]:
    """Those from which a way leads to the outputs on which there is no other."""
    layers = layers_of(analyze(graph))
    reached = set(graph.outputs)
    found = []
    for node in reversed(graph.nodes):
        if reached.isdisjoint(node.outputs):
            continue
        if node.name in layers:
            found.append(layers[node.name])
        else:
            reached.update(node.inputs)
    return found[::-1]


def _operators_after(graph: Graph, layer: Layer) -> set[str]:
    """What follows a layer before the next ones."""
    reached, found = {layer.node.outputs[0]}, set()
    layers = layers_of(analyze(graph))
    for node in graph.nodes:
        if node.name not in layers and not reached.isdisjoint(node.inputs):
            reached.update(node.outputs)
            found.add(node.operator)
    return found


def _value(graph: Graph, layer: Layer) -> str:
    """The value that holds what a layer gives, after its batch norm if it has one."""
    norm = layer.norm
    if norm is None:
        return layer.output
    return next(node.outputs[0] for node in graph.nodes if node.name == norm.node)
