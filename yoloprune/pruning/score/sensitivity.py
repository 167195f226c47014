"""How much a small error in a layer's output counts.

By what it changes in what the network says: probabilities of an object in each cell, and of its
class. Their Kullback-Leibler divergence from those of the unchanged network is, to second order, a
quadratic form in the change of the head maps (the Fisher information: S. Amari, "Natural gradient
works efficiently in learning", 1998). Random probes of that form, taken back through the network,
give the weight of each channel of each layer, without any label.

And by its share in the variation of the layer's own output: the gradients are those of small errors
one by one, and pruning makes large ones everywhere. The geometric mean of both kept more of the mAP
than either.
"""

from collections.abc import Callable, Mapping
from typing import TypeAlias

import torch
from torch import Tensor

from yoloprune.execution.stream import arrays_like, chunked, computed, only_input
from yoloprune.pruning.groups import DependencyGraph
from yoloprune.pruning.layers import Arrays, Layer, layers_of
from yoloprune.reporter import SILENT, Reporter

Sensitivities: TypeAlias = Mapping[str, Tensor]
"""Of each layer, by node: what a unit of squared error counts at every place of a filter's output
before batch norm, (F,) float64."""

Weights: TypeAlias = Callable[[Tensor], Tensor]
"""From an output (B, C, ...) to what a squared error in each of its values counts."""

CHUNK = 2
"""Images whose outputs are all held at once, for the way back."""

ROUNDING = 1e-12
"""Variance, relative to the mean square, under which an output is a constant."""


def sensitivities(
    dependencies: DependencyGraph,
    parameters: Arrays,
    images: Tensor,
    weights: Mapping[str, Weights] | None = None,
    *,
    seed: int = 0,
    reporter: Reporter = SILENT,
) -> dict[str, Tensor]:
    """The geometric mean of what squared errors do at the outputs and of 1 / variance.

    What they do is twice the divergence, summed over places, mean over images (B, C, H, W).
    `weights` are those of outputs, by name: a front end knows what its heads mean. Of an output
    that has none, every channel counts by its own variation. Errors of different places and
    channels count as independent. Everything is computed in the images' dtype and on their device.
    """
    graph, layers = dependencies.graph, layers_of(dependencies)
    arrays = arrays_like(graph, parameters, images)
    name, weights = only_input(graph), weights or {}
    wanted = {layer.output for layer in layers.values()} | set(graph.outputs)
    generator = torch.Generator().manual_seed(seed)
    # Sums over places: of squared gradients, and the moments of what a filter gives.
    total = {
        own: torch.zeros(4, layer.filters, dtype=torch.float64, device=images.device)
        for own, layer in layers.items()
    }
    chunks = chunked(graph, images, CHUNK)
    for chunk in reporter.track(chunks, "measuring sensitivities"):
        values = computed(graph, arrays, {name: chunk.detach().requires_grad_()}, wanted)
        given = [own for own in graph.outputs if values[own].requires_grad]
        probes = [_probe(values[own].detach(), weights.get(own), generator) for own in given]
        reached = [layer for layer in layers.values() if values[layer.output].requires_grad]
        gradients = torch.autograd.grad(
            [values[own] for own in given],
            [values[layer.output] for layer in reached],
            probes,
            allow_unused=True,
        )
        for layer, gradient in zip(reached, gradients, strict=True):
            if gradient is not None:
                total[layer.name] += _sums(layer, gradient, values[layer.output].detach())
    images_read = sum(len(chunk) for chunk in chunks)
    return {own: _both(sums[0] / images_read, *sums[1:]) for own, sums in total.items()}


def _sums(layer: Layer, gradient: Tensor, y: Tensor) -> Tensor:  # -> (4, F) float64
    """Of each filter: gradients squared, how many there are, outputs, and these squared."""
    rest = [axis for axis in range(y.dim()) if axis != layer.channel_axis % y.dim()]
    wide = y.double()
    total = wide.sum(dim=rest)
    count = torch.full_like(total, y.numel() / len(total))
    return torch.stack(
        [gradient.double().square().sum(dim=rest), count, total, wide.square().sum(dim=rest)]
    )


def _both(at_outputs: Tensor, count: Tensor, first: Tensor, second: Tensor) -> Tensor:
    """The geometric mean; the variance is that of so many values with these sums of powers."""
    count = count.clamp(min=1)
    variance = second / count - (first / count).square()
    # What does not vary, but for rounding, a constant can hold.
    varies = variance > ROUNDING * second / count
    return torch.where(varies, at_outputs / variance, 0.0).sqrt()


def _probe(values: Tensor, weights: Weights | None, generator: torch.Generator) -> Tensor:
    """A random vector whose second moments are the quadratic form's at an output."""
    noise = torch.randn(values.shape, generator=generator, dtype=values.dtype).to(values.device)
    if weights is not None:
        return noise * weights(values).clamp(min=0).sqrt()
    rest = [axis for axis in range(values.dim()) if axis != 1] if values.dim() > 1 else [0]
    deviation = values.std(dim=rest, keepdim=True, correction=0)
    # A single value has no variation that could be a measure.
    return noise / torch.where(deviation > 0, deviation, 1.0).clamp(min=1e-6)
