"""First-order importance against the loss itself."""

import numpy as np
import torch

from yoloprune.darknet.shapes import layer_shapes
from yoloprune.darknet.spec import Layer
from yoloprune.darknet.zoo import yolov3_tiny
from yoloprune.model.initialization import training_state
from yoloprune.model.network import Network
from yoloprune.training.assign import Objects, assign
from yoloprune.training.gradients import gate_gradients
from yoloprune.training.loss import detection_loss, trainable_heads

SPEC = yolov3_tiny(classes=2, width=0.125, size=(64, 64))
STATE = training_state(SPEC)


def some_objects(count: int, seed: int) -> Objects:
    generator = torch.Generator().manual_seed(seed)
    return Objects(
        image=torch.zeros(count, dtype=torch.int64),
        label=torch.randint(2, (count,), generator=generator),
        boxes=torch.rand(count, 4, generator=generator) * 20 + 20,
    )


def test_gate_gradients_are_the_slopes_of_each_images_loss() -> None:
    images = torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    objects = [some_objects(count, count) for count in (2, 0, 1)]
    found = gate_gradients(SPEC, STATE, images, objects)
    assert {index: g.shape for index, g in found.items()} == {
        conv.index: (3, conv.filters) for conv in SPEC.convs
    }
    heads, shapes = trainable_heads(SPEC), layer_shapes(SPEC)
    network = Network.from_state(SPEC, STATE).double()

    def loss(number: int, gate: float) -> float:
        def gated(layer: Layer, output: torch.Tensor) -> torch.Tensor:
            if layer.index == 4:
                output = output.clone()
                output[:, 1] *= gate
            return output

        maps = network(images[number : number + 1].double(), gated)
        grids = [shapes[head.index][1:] for head in heads]
        positives = assign(heads, objects[number], grids, (64, 64))
        return float(detection_loss(heads, maps, objects[number], positives, (64, 64), 1.0).total)

    for number in range(3):
        with torch.no_grad():
            slope = (loss(number, 1.01) - loss(number, 0.99)) / 0.02
        np.testing.assert_allclose(found[4][number, 1], slope, rtol=0.05, atol=2e-3)
