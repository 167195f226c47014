"""Assignment against a plain loop over objects and anchors."""

from dataclasses import replace

import pytest
import torch

from tests.training.objects import GRIDS, SIZE, SPEC, random_objects
from yoloprune.training.assign import SHAPE_IOU, Objects, assign, shape_iou


def by_loop(objects: Objects) -> list[dict[tuple[int, int, int, int], int]]:
    """Per head: place (image, anchor, row, column) to object."""
    found: list[dict[tuple[int, int, int, int], int]] = [{}, {}]
    fits: list[dict[tuple[int, int, int, int], float]] = [{}, {}]
    for number in range(len(objects.boxes)):
        left, top, right, bottom = objects.boxes[number].tolist()
        cx, cy, w, h = (left + right) / 2, (top + bottom) / 2, right - left, bottom - top
        ious = []
        for head in SPEC.heads:
            for aw, ah in head.anchors:
                overlap = min(w, aw) * min(h, ah)
                ious.append(overlap / (w * h + aw * ah - overlap))
        for place, iou in enumerate(ious):
            if iou > SHAPE_IOU or place == max(range(len(ious)), key=ious.__getitem__):
                head, anchor = divmod(place, 3)
                rows, columns = GRIDS[head]
                at = (
                    int(objects.image[number]),
                    anchor,
                    min(int(cy * rows / 96), rows - 1),
                    min(int(cx * columns / 128), columns - 1),
                )
                if iou >= fits[head].get(at, -1.0):
                    fits[head][at], found[head][at] = iou, number
    return found


@pytest.mark.parametrize("seed", range(5))
def test_assignment_equals_the_loop(seed: int) -> None:
    objects = random_objects(25, seed)
    for positives, expected in zip(
        assign(SPEC.heads, objects, GRIDS, SIZE), by_loop(objects), strict=True
    ):
        places = zip(
            positives.image.tolist(),
            positives.anchor.tolist(),
            positives.row.tolist(),
            positives.column.tolist(),
            strict=True,
        )
        assert dict(zip(places, positives.target.tolist(), strict=True)) == expected
        assert len(positives.target) == len(expected)


def test_every_object_has_a_positive_unless_a_better_one_took_its_place() -> None:
    objects = random_objects(1, 0)
    tiny = Objects(image=objects.image, label=objects.label, boxes=torch.tensor([[5.0, 5, 1, 1]]))
    assert sum(len(p.target) for p in assign(SPEC.heads, tiny, GRIDS, SIZE)) == 1


def test_no_objects_no_positives() -> None:
    nothing = Objects(
        image=torch.zeros(0, dtype=torch.int64),
        label=torch.zeros(0, dtype=torch.int64),
        boxes=torch.zeros(0, 4),
    )
    assert [len(p.target) for p in assign(SPEC.heads, nothing, GRIDS, SIZE)] == [0, 0]


def test_anchors_of_0_answer_for_nothing() -> None:
    heads = [replace(head, anchors=((0.0, 3.0), (0.0, 0.0), (20.0, 20.0))) for head in SPEC.heads]
    objects = random_objects(25, 0)
    answering = torch.cat([p.anchor for p in assign(heads, objects, GRIDS, SIZE)])
    assert set(answering.tolist()) == {2}
    flat = torch.tensor([[0.0, 0.0]])
    assert shape_iou(flat, torch.tensor([[0.0, 0.0], [0.0, 3.0]])).tolist() == [[0, 0]]


def test_shape_iou_by_hand() -> None:
    iou = shape_iou(torch.tensor([[10.0, 10.0]]), torch.tensor([[10.0, 10.0], [20.0, 5.0]]))
    assert iou.tolist() == [[1.0, pytest.approx(50 / 150)]]
