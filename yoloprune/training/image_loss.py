"""The training loss of single images, for whoever asks what a network answers to."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from yoloprune.frontends.darknet.shapes import layer_shapes
from yoloprune.frontends.darknet.spec import NetworkSpec
from yoloprune.training.assign import Objects, assign
from yoloprune.training.loss import detection_loss, trainable_heads
from yoloprune.training.targets import targets


def image_loss(
    spec: NetworkSpec, objects: Sequence[Objects]
) -> Callable[[Sequence[Tensor], range], Tensor]:
    """From the maps of the images of these numbers to the sum of their losses.

    `objects` are those of each image. Raises `CfgError` for heads that cannot be trained.
    """
    heads = trainable_heads(spec)
    shapes = layer_shapes(spec)
    grids = [shapes[head.index][1:] for head in heads]
    size = spec.input_shape[1:]

    def loss(maps: Sequence[Tensor], numbers: range) -> Tensor:
        own = _joined([objects[number] for number in numbers])
        positives = assign(heads, own, grids, size)
        wanted = targets(heads, grids, own, positives, len(numbers)).on(maps[0].device)
        return detection_loss(heads, maps, wanted, size, 1.0).total

    return loss


def _joined(objects: Sequence[Objects]) -> Objects:
    """The objects of several images, each image numbered by its place."""
    return Objects(
        image=torch.cat([torch.full_like(o.label, n) for n, o in enumerate(objects)]),
        label=torch.cat([o.label for o in objects]),
        boxes=torch.cat([o.boxes for o in objects]),
    )
