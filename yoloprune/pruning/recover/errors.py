"""What recovery without training gained: the outputs before and after."""

from collections.abc import Sequence

import torch
from torch import Tensor

from yoloprune.execution.stream import arrays_like, chunked, computed, only_input
from yoloprune.graph.graph import Graph
from yoloprune.pruning.layers import Arrays

CHUNK = 4
"""Images that are compared at once."""

LEAST = 1e-3
"""Deviation of outputs under which errors are no longer relative to it: no score, and no place in
pixels, is told apart by less."""


def output_errors(
    dense: tuple[Graph, Arrays], slim: Graph, candidates: Sequence[Arrays], images: Tensor
) -> list[list[float]]:
    """How far the outputs of each candidate of the slim network are from the dense ones, by output.

    `candidates` are sets of its parameters. On images (B, C, H, W): the root of the mean of squared
    differences, relative to how much the dense output's channels vary about their means, or the
    slim one's about the same, if that is more, but to no less than `LEAST`. So 1 is as far as a
    constant output would be, or one that has nothing to do with the dense one where that hardly
    varies, and no output is ever further than 2.
    """
    with torch.inference_mode():
        wanted = outputs_on(images, dense)
        return [errors_of(outputs_on(images, (slim, own)), wanted) for own in candidates]


def errors_of(given: Sequence[Tensor], wanted: Sequence[Tensor]) -> list[float]:
    """The same of outputs that are there already."""
    return [_relative(a, b) for a, b in zip(given, wanted, strict=True)]


def outputs_on(images: Tensor, network: tuple[Graph, Arrays]) -> list[Tensor]:
    """What a network gives on images (B, C, H, W), by output."""
    graph, parameters = network
    arrays = arrays_like(graph, parameters, images)
    name = only_input(graph)
    chunks = [
        computed(graph, arrays, {name: chunk}, graph.outputs)
        for chunk in chunked(graph, images, CHUNK)
    ]
    return [torch.cat([values[name] for values in chunks]) for name in graph.outputs]


def _relative(slim: Tensor, dense: Tensor) -> float:
    slim, dense = slim.double(), dense.double()
    rest = [axis for axis in range(dense.dim()) if axis != 1]
    middle = dense.mean(dim=rest, keepdim=True)
    extent = torch.maximum(_deviation(dense, middle), _deviation(slim, middle))
    return float(_deviation(slim, dense) / extent.clamp(min=LEAST))


def _deviation(values: Tensor, others: Tensor) -> Tensor:
    return (values - others).square().mean().sqrt()
