"""First-order importance: how the loss answers to each channel that is read."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import Module

from yoloprune.darknet.shapes import layer_shapes
from yoloprune.darknet.spec import NetworkSpec
from yoloprune.darknet.state import State
from yoloprune.model.network import Network
from yoloprune.training.assign import Objects, assign
from yoloprune.training.loss import detection_loss, trainable_heads

CHUNK = 2
"""Images whose outputs are all held at once, for the way back."""


def input_gradients(
    spec: NetworkSpec, state: State, images: Tensor, objects: Sequence[Objects]
) -> dict[int, NDArray[np.float64]]:
    """Derivative of each image's loss by a factor, 1 so far, on each channel that is read.

    For images (B, C, H, W) and the objects of each; (B, channels read) by layer index of the
    convolution. To first order it is what the loss falls by if that convolution cannot read the
    channel. Raises `CfgError` for heads that cannot be trained.
    """
    heads = trainable_heads(spec)
    shapes = layer_shapes(spec)
    grids = [shapes[head.index][1:] for head in heads]
    size = spec.input_shape[1:]
    network = Network.from_state(spec, state)
    network.requires_grad_(False)
    gates: dict[int, Tensor] = {}

    def gating(index: int) -> Callable[..., Tensor]:
        def gated(module: Module, inputs: tuple[Tensor]) -> Tensor:
            gates[index] = inputs[0].new_ones(*inputs[0].shape[:2], 1, 1).requires_grad_()
            return inputs[0] * gates[index]

        return gated

    for conv in spec.convs:
        network.conv(conv.index).register_forward_pre_hook(gating(conv.index))
    found: dict[int, list[NDArray[np.float64]]] = {conv.index: [] for conv in spec.convs}
    for first in range(0, len(images), CHUNK):
        batch, own = images[first : first + CHUNK], _joined(objects[first : first + CHUNK])
        maps = network(batch)
        positives = assign(heads, own, grids, size)
        loss = detection_loss(heads, maps, own, positives, size, 1.0).total
        gradients = torch.autograd.grad(loss, list(gates.values()), allow_unused=True)
        for (index, gate), gradient in zip(gates.items(), gradients, strict=True):
            value = torch.zeros_like(gate) if gradient is None else gradient
            found[index].append(value[:, :, 0, 0].double().numpy(force=True))
    return {index: np.concatenate(chunks) for index, chunks in found.items()}


def _joined(objects: Sequence[Objects]) -> Objects:
    """The objects of several images, each image numbered by its place."""
    return Objects(
        image=torch.cat([torch.full_like(o.label, n) for n, o in enumerate(objects)]),
        label=torch.cat([o.label for o in objects]),
        boxes=torch.cat([o.boxes for o in objects]),
    )
