"""First-order importance against the loss itself."""

import numpy as np
import torch

from tests.networks import network_of
from yoloprune.frontends.darknet.initialization import training_state
from yoloprune.frontends.darknet.lower import lower, parameters
from yoloprune.frontends.darknet.shapes import layer_shapes, source_shapes
from yoloprune.frontends.darknet.zoo import yolov3_tiny
from yoloprune.pruning.groups import analyze
from yoloprune.pruning.score.gradients import input_gradients
from yoloprune.training.assign import Objects, assign
from yoloprune.training.image_loss import image_loss
from yoloprune.training.loss import detection_loss, trainable_heads
from yoloprune.training.targets import targets

SPEC = yolov3_tiny(classes=2, width=0.125, size=(64, 64))
STATE = training_state(SPEC)


def some_objects(count: int, seed: int) -> Objects:
    generator = torch.Generator().manual_seed(seed)
    middle, size = (torch.rand(count, 4, generator=generator) * 20 + 20).chunk(2, dim=1)
    boxes = torch.cat((middle - size / 2, middle + size / 2), dim=1)
    return Objects(
        image=torch.zeros(count, dtype=torch.int64),
        label=torch.randint(2, (count,), generator=generator),
        boxes=boxes,
    )


def test_a_factor_on_what_is_read_is_one_on_the_kernels_column() -> None:
    images = torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    objects = [some_objects(count, count) for count in (2, 0, 1)]
    graph, loss = analyze(lower(SPEC)), image_loss(SPEC, objects)
    found = input_gradients(graph, parameters(STATE), images, loss)
    shapes = layer_shapes(SPEC)
    assert {name: g.shape for name, g in found.items()} == {
        f"layer_{conv.index}.conv": (3, source_shapes(conv, SPEC, shapes)[0][0])
        for conv in SPEC.convs
    }
    heads = trainable_heads(SPEC)
    network = network_of(SPEC, STATE)
    grids = [shapes[head.index][1:] for head in heads]
    for number, own in enumerate(objects):
        network.zero_grad()
        positives = assign(heads, own, grids, (64, 64))
        maps = network(images[number : number + 1])
        wanted = targets(heads, grids, own, positives, 1)
        detection_loss(heads, maps, wanted, (64, 64), 1.0).total.backward()
        for conv in SPEC.convs:
            kernel = network.array(f"layer_{conv.index}.kernel")
            assert kernel.grad is not None
            expected = (kernel.detach() * kernel.grad).double().sum(dim=(0, 2, 3)).numpy()
            own_gradients = found[f"layer_{conv.index}.conv"][number]
            np.testing.assert_allclose(
                own_gradients, expected, rtol=1e-3, atol=1e-4 * abs(expected).max()
            )
