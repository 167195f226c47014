"""A head with two grids, and random objects for it."""

import torch

from yoloprune.frontends.darknet.zoo import yolov3_tiny
from yoloprune.training.assign import Objects

SPEC = yolov3_tiny(classes=2, width=0.0625, size=(96, 128))
SIZE = (96, 128)
GRIDS = [(3, 4), (6, 8)]


def random_objects(count: int, seed: int) -> Objects:
    generator = torch.Generator().manual_seed(seed)
    draw = torch.rand(count, 4, generator=generator)
    middle, half = draw[:, :2] * torch.tensor([128.0, 96.0]), draw[:, 2:] * 40 + 2
    return Objects(
        image=torch.randint(0, 3, (count,), generator=generator),
        label=torch.randint(0, 2, (count,), generator=generator),
        boxes=torch.cat((middle - half, middle + half), dim=1),
    )
