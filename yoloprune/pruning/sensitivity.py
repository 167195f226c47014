"""How much a small error in a convolution's output changes what the network says.

What it says are probabilities: of an object in each cell, and of its class. Their Kullback-Leibler
divergence from those of the unchanged network is, to second order, a quadratic form in the change
of the head maps (the Fisher information: S. Amari, "Natural gradient works efficiently in
learning", 1998). Random probes of that form, taken back through the network, give the weight of
each channel of each convolution, without any label.
"""

from collections.abc import Callable, Mapping
from typing import TypeAlias

import torch
from torch import Tensor

from yoloprune.darknet.spec import Head, NetworkSpec, Yolo
from yoloprune.darknet.state import State
from yoloprune.model.network import Network

Sensitivities: TypeAlias = Mapping[int, Tensor]
"""Of each convolution, by layer index: twice the divergence for a unit of squared error at every
place of a filter's output before batch norm, (F,) float64."""

CHUNK = 2
"""Images whose outputs are all held at once, for the way back."""


def sensitivities(
    spec: NetworkSpec, state: State, images: Tensor, *, seed: int = 0
) -> dict[int, Tensor]:
    """Mean over images (B, C, H, W) of the squared gradients, summed over places.

    Errors of different places and channels count as independent.
    """
    network = Network.from_state(spec, state)
    generator = torch.Generator().manual_seed(seed)
    total = {conv.index: torch.zeros(conv.filters, dtype=torch.float64) for conv in spec.convs}
    for chunk in torch.split(images, CHUNK):
        convolved, maps = _outputs(network, chunk)
        probes = [_probe(head, values.detach(), generator) for head, values in maps]
        gradients = torch.autograd.grad(
            [values for _, values in maps], list(convolved.values()), probes, allow_unused=True
        )
        for index, gradient in zip(convolved, gradients, strict=True):
            if gradient is not None:
                total[index] += gradient.double().square().sum(dim=(0, 2, 3))
    return {index: sums / len(images) for index, sums in total.items()}


def _outputs(
    network: Network, images: Tensor
) -> tuple[dict[int, Tensor], list[tuple[Head | None, Tensor]]]:
    """Every convolution's output before batch norm, and what the heads read, with gradients."""
    convolved: dict[int, Tensor] = {}

    def keeping(index: int) -> Callable[..., None]:
        return lambda module, inputs, output: convolved.update({index: output})

    hooks = [
        network.conv(conv.index).conv.register_forward_hook(keeping(conv.index))
        for conv in network.spec.convs
    ]
    maps = network(images)
    for hook in hooks:
        hook.remove()
    return convolved, list(zip(network.spec.heads or (None,), maps, strict=True))


def _probe(head: Head | None, values: Tensor, generator: torch.Generator) -> Tensor:
    """A random vector whose second moments are the quadratic form's at these head maps."""
    noise = torch.randn(values.shape, generator=generator, dtype=values.dtype)
    if not isinstance(head, Yolo):
        # Without a model of the probabilities: every channel by its own variation.
        deviation = values.std(dim=(0, 2, 3), keepdim=True, correction=0)
        # A single value has no variation that could be a measure.
        return noise / torch.where(deviation > 0, deviation, 1.0).clamp(min=1e-6)
    entries = values.reshape(len(values), len(head.anchors), -1, *values.shape[2:])
    probabilities = entries if head.new_coords else entries.sigmoid()
    curvature = (probabilities * (1 - probabilities)).clamp(min=1e-6)
    if head.new_coords:
        # Not of the logit but of the probability itself.
        curvature = 1 / curvature
    objectness = probabilities[:, :, 4:5]
    weight = objectness * curvature
    weight[:, :, 4] = curvature[:, :, 4]
    # The box of a cell matters as far as there is an object.
    weight[:, :, :4] = objectness
    return noise * weight.reshape(values.shape).clamp(min=0).sqrt()
