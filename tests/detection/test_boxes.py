import pytest
import torch
from torch import Tensor

from yoloprune.detection.boxes import (
    box_iou,
    boxes_to_image,
    boxes_to_network,
    clip_boxes,
    pixel_box_iou,
)
from yoloprune.detection.placement import Placement


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ((0, 0, 10, 10), (0, 0, 10, 10), 1.0),
        ((0, 0, 10, 10), (5, 0, 15, 10), 1 / 3),
        ((0, 0, 4, 4), (2, 2, 6, 6), 4 / 28),
        ((0, 0, 10, 10), (10, 0, 20, 10), 0.0),
        ((0, 0, 10, 10), (30, 30, 40, 40), 0.0),
        ((5, 5, 5, 5), (5, 5, 5, 5), 0.0),
    ],
)
def test_iou_is_overlap_over_union(a: tuple[int], b: tuple[int], expected: float) -> None:
    assert box_iou(_box(a), _box(b)).item() == pytest.approx(expected)


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ((0, 0, 9, 9), (0, 0, 9, 9), 1.0),
        # 10 x 10 pixels each, 5 x 10 in common.
        ((0, 0, 9, 9), (5, 0, 14, 9), 50 / 150),
        # They share a column of pixels, though not an area.
        ((0, 0, 9, 9), (9, 0, 18, 9), 10 / 190),
        ((5, 5, 5, 5), (5, 5, 5, 5), 1.0),
    ],
)
def test_pixel_iou_counts_corner_pixels(a: tuple[int], b: tuple[int], expected: float) -> None:
    assert pixel_box_iou(_box(a), _box(b)).item() == pytest.approx(expected)


def test_every_pair_is_compared() -> None:
    a, b = torch.rand(3, 4), torch.rand(5, 4)
    a[:, 2:] += a[:, :2]
    b[:, 2:] += b[:, :2]
    pairs = box_iou(a, b)
    assert pairs.shape == (3, 5)
    for i in range(3):
        for j in range(5):
            assert pairs[i, j] == box_iou(a[i : i + 1], b[j : j + 1])
    assert box_iou(a, b[:0]).shape == (3, 0)


def test_iou_has_gradients() -> None:
    a = torch.tensor([[0.0, 0.0, 4.0, 4.0], [1.0, 2.0, 5.0, 9.0]], dtype=torch.float64)
    b = torch.tensor([[2.0, 1.0, 6.0, 7.0]], dtype=torch.float64)
    assert torch.autograd.gradcheck(box_iou, (a.requires_grad_(), b.requires_grad_()))


def test_boxes_are_cut_at_the_borders() -> None:
    boxes = torch.tensor([[-5.0, 2.0, 30.0, 50.0], [1.0, 1.0, 2.0, 2.0]])
    expected = [[0.0, 2.0, 20.0, 10.0], [1.0, 1.0, 2.0, 2.0]]
    assert clip_boxes(boxes, width=20, height=10).tolist() == expected


def test_placement_maps_both_ways() -> None:
    placement = Placement(scale=(0.5, 2.0), offset=(3.0, 7.0))
    boxes = torch.tensor([[0.0, 0.0, 10.0, 10.0]])
    inside = boxes_to_network(boxes, placement)
    assert inside.tolist() == [[3.0, 7.0, 8.0, 27.0]]
    assert boxes_to_image(inside, placement).tolist() == boxes.tolist()


def _box(corners: tuple[int, ...]) -> Tensor:
    return torch.tensor([corners], dtype=torch.float64)
