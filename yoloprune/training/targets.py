"""What the heads are to answer for a batch, in five tensors, whatever its objects are.

Legend: B images, H heads, P positives of the head that has most, M objects of the image that has
most. Heads and images with fewer are filled up with what does not count, so that batches can have
tensors of the same shapes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from yoloprune.devices import to_device
from yoloprune.frontends.darknet.spec import Head
from yoloprune.training.assign import Objects, Positives


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Targets:
    """Of one batch, all on one device.

    Attributes:
        labeled: (B, M, 4) float32, the objects of each image, xyxy in input pixels; empty boxes
            follow where there are fewer.
        place: (H, P) int64, which of a head's predictions, in the order (image, anchor, row,
            column), each positive is.
        truth: (H, P, 4) float32, the boxes of their objects.
        label: (H, P) int64, the classes of their objects.
        counted: (H, P) float32, 1, or 0 for what fills up.
    """

    labeled: Tensor
    place: Tensor
    truth: Tensor
    label: Tensor
    counted: Tensor

    def tensors(self) -> tuple[Tensor, ...]:
        """All of them, in this order."""
        return self.labeled, self.place, self.truth, self.label, self.counted

    @classmethod
    def of(cls, tensors: Sequence[Tensor]) -> "Targets":
        """From what `tensors` gives."""
        labeled, place, truth, label, counted = tensors
        return cls(labeled=labeled, place=place, truth=truth, label=label, counted=counted)

    def on(self, device: torch.device) -> "Targets":
        """These on a device; nobody waits for the transfer to a GPU."""
        return Targets.of([to_device(tensor, device) for tensor in self.tensors()])


def targets(
    heads: Sequence[Head],
    grids: Sequence[tuple[int, int]],
    objects: Objects,
    positives: Sequence[Positives],
    count: int,
    *,
    room: tuple[int, int] = (1, 1),
) -> Targets:
    """Of `count` images; `positives` are `assign`'s, of heads whose (rows, columns) are `grids`.

    There is `room` for at least so many objects of an image and positives of a head.
    """
    labeled = objects.of_images(count, room[0])
    most = max(room[1], *(len(own.target) for own in positives))
    place = torch.zeros(len(heads), most, dtype=torch.int64)
    label = torch.zeros_like(place)
    counted = torch.zeros(len(heads), most)
    # Boxes with an area: what does not count must have a finite gradient even so.
    truth = torch.tensor([0.0, 0, 1, 1]).repeat(len(heads), most, 1)
    for number, (head, (rows, columns), own) in enumerate(
        zip(heads, grids, positives, strict=True)
    ):
        found = slice(len(own.target))
        row = (own.image * len(head.anchors) + own.anchor) * rows + own.row
        place[number, found] = row * columns + own.column
        truth[number, found] = objects.boxes[own.target]
        label[number, found] = objects.label[own.target]
        counted[number, found] = 1
    return Targets(labeled=labeled, place=place, truth=truth, label=label, counted=counted)
