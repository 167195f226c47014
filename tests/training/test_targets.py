"""Targets: each positive at its place, and room for more that changes nothing."""

import pytest
import torch

from tests.training.objects import GRIDS, SIZE, SPEC, random_objects
from yoloprune.training.assign import Objects, assign
from yoloprune.training.loss import detection_loss, trainable_heads
from yoloprune.training.targets import Targets, targets

HEADS = trainable_heads(SPEC)


def of(objects: Objects, room: tuple[int, int] = (1, 1)) -> Targets:
    return targets(HEADS, GRIDS, objects, assign(HEADS, objects, GRIDS, SIZE), 3, room=room)


def test_places_are_those_of_a_heads_predictions() -> None:
    objects = random_objects(9, 0)
    found = of(objects)
    for number, own in enumerate(assign(HEADS, objects, GRIDS, SIZE)):
        marks = torch.zeros(3, len(HEADS[number].anchors), *GRIDS[number])
        marks[own.image, own.anchor, own.row, own.column] = 1
        assert found.counted[number].sum() == len(own.target) > 0
        is_real = found.counted[number] == 1
        assert torch.equal(
            marks.flatten().nonzero()[:, 0], found.place[number][is_real].sort().values
        )
        assert torch.equal(found.truth[number][is_real], objects.boxes[own.target])
        assert torch.equal(found.label[number][is_real], objects.label[own.target])


@pytest.mark.parametrize("count", [0, 1, 12])
def test_room_for_more_changes_neither_loss_nor_gradients(count: int) -> None:
    objects = random_objects(count, 1)
    generator = torch.Generator().manual_seed(0)
    maps = [torch.randn(3, 21, *grid, generator=generator).requires_grad_() for grid in GRIDS]
    exact, roomy = of(objects), of(objects, (7, 50))
    assert roomy.labeled.shape == (3, 7, 4) and roomy.place.shape == (2, 50)
    found = []
    for wanted in (exact, roomy):
        total = detection_loss(HEADS, maps, wanted, SIZE, 2.0).total
        found.append((total, *torch.autograd.grad(total, maps)))
    torch.testing.assert_close(found[0], found[1])


def test_tensors_and_back() -> None:
    found = of(random_objects(4, 2))
    again = Targets.of([tensor.clone() for tensor in found.tensors()])
    assert torch.equal(again.truth, found.truth) and torch.equal(again.label, found.label)
    assert again.on(torch.device("cpu")).place.equal(found.place)
