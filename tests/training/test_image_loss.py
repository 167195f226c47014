import pytest
import torch

from tests.training.objects import GRIDS, SIZE, SPEC, random_objects
from yoloprune.errors import CfgError
from yoloprune.frontends.darknet.parser import parse_cfg
from yoloprune.training.assign import Objects, assign
from yoloprune.training.image_loss import image_loss
from yoloprune.training.loss import detection_loss, trainable_heads
from yoloprune.training.targets import targets


def of_image(objects: Objects, image: int) -> Objects:
    own = objects.image == image
    return Objects(
        image=torch.zeros_like(objects.image[own]),
        label=objects.label[own],
        boxes=objects.boxes[own],
    )


def test_images_of_any_numbers_have_the_loss_of_a_batch_of_them() -> None:
    objects = random_objects(12, 0)
    generator = torch.Generator().manual_seed(0)
    maps = [torch.randn(3, 21, *grid, generator=generator) for grid in GRIDS]
    loss = image_loss(SPEC, [of_image(objects, image) for image in range(3)])
    heads = trainable_heads(SPEC)
    positives = assign(heads, objects, GRIDS, SIZE)
    expected = detection_loss(
        heads, maps, targets(heads, GRIDS, objects, positives, 3), SIZE, 1.0
    ).total
    torch.testing.assert_close(loss(maps, range(3)), expected)
    parts = [loss([m[n : n + 1] for m in maps], range(n, n + 1)) for n in range(3)]
    torch.testing.assert_close(sum(parts), expected)
    assert min(parts) > 0


def test_heads_that_cannot_be_trained_are_refused() -> None:
    spec = parse_cfg(
        "[net]\nheight=32\nwidth=32\nchannels=3\n[convolutional]\nfilters=6\nsize=1\n"
        "stride=8\nactivation=linear\n[region]\nanchors=1,1\nnum=1\nclasses=1\nsoftmax=1\n"
    )
    with pytest.raises(CfgError, match="train"):
        image_loss(spec, [])
