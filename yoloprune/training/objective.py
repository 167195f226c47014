"""The detection loss of labeled images, as a function of what a network gives for them."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from yoloprune.darknet.spec import NetworkSpec
from yoloprune.training.assign import Objects, assign
from yoloprune.training.loss import detection_loss, trainable_heads


def loss_of_images(
    spec: NetworkSpec, objects: Sequence[Objects]
) -> Callable[[Sequence[Tensor], range], Tensor]:
    """From raw head maps for the images of some numbers to the sum of the losses of those.

    `objects` are those of each image. Raises `CfgError` for heads that cannot be trained.
    """
    heads, size = trainable_heads(spec), spec.input_shape[1:]

    def loss(maps: Sequence[Tensor], images: range) -> Tensor:
        own = _joined([objects[number] for number in images], maps[0].device)
        grids = [(raw.shape[2], raw.shape[3]) for raw in maps]
        positives = assign(heads, own, grids, size)
        return detection_loss(heads, maps, own, positives, size, 1.0).total

    return loss


def _joined(objects: Sequence[Objects], device: torch.device) -> Objects:
    """The objects of several images, each image numbered by its place."""
    return Objects(
        image=torch.cat([torch.full_like(o.label, n) for n, o in enumerate(objects)]).to(device),
        label=torch.cat([o.label for o in objects]).to(device),
        boxes=torch.cat([o.boxes for o in objects]).to(device),
    )
