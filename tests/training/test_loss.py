"""The loss: zero where it must be, equal however the batch is cut, and with the right gradients."""

import math

import pytest
import torch

from tests.training.objects import GRIDS, SIZE, SPEC, random_objects
from yoloprune.detection.decode import decode
from yoloprune.errors import CfgError
from yoloprune.frontends.darknet.parser import parse_cfg
from yoloprune.frontends.darknet.spec import NetworkSpec, with_input_size
from yoloprune.training.assign import Objects, assign
from yoloprune.training.loss import Loss, ciou, detection_loss, ignore_iou, trainable_heads
from yoloprune.training.targets import targets


def loss_of(maps: list[torch.Tensor], objects: Objects, normalizer: float = 1.0) -> Loss:
    heads = trainable_heads(SPEC)
    positives = assign(heads, objects, GRIDS, SIZE)
    wanted = targets(heads, GRIDS, objects, positives, len(maps[0]))
    return detection_loss(heads, maps, wanted, SIZE, normalizer)


def perfect_maps(objects: Objects) -> list[torch.Tensor]:
    """Maps whose positives decode to exactly their objects, with certain scores."""
    maps = []
    for head, (rows, columns), positives in zip(
        SPEC.heads, GRIDS, assign(SPEC.heads, objects, GRIDS, SIZE), strict=True
    ):
        t = torch.zeros(3, 3, 7, rows, columns)
        t[:, :, 4:] = -30.0
        for i, a, r, c, n in zip(
            *(
                getattr(positives, x).tolist()
                for x in ("image", "anchor", "row", "column", "target")
            ),
            strict=True,
        ):
            left, top, right, bottom = objects.boxes[n].tolist()
            cx, cy, w, h = (left + right) / 2, (top + bottom) / 2, right - left, bottom - top
            inside_x, inside_y = cx * columns / 128 - c, cy * rows / 96 - r
            t[i, a, 0, r, c] = math.log(inside_x / (1 - inside_x))
            t[i, a, 1, r, c] = math.log(inside_y / (1 - inside_y))
            t[i, a, 2, r, c] = math.log(w / head.anchors[a][0])
            t[i, a, 3, r, c] = math.log(h / head.anchors[a][1])
            t[i, a, 4, r, c] = 30.0
            t[i, a, 5 + int(objects.label[n]), r, c] = 30.0
        maps.append(t.reshape(3, 21, rows, columns))
    return maps


def test_perfect_maps_have_no_loss_and_decode_to_the_objects() -> None:
    objects = random_objects(10, 1)
    maps = perfect_maps(objects)
    loss = loss_of(maps, objects)
    assert loss.box < 1e-4 and loss.objectness < 1e-4 and loss.classes < 1e-4
    predictions = decode(SPEC, maps)
    certain = predictions.objectness > 0.5
    found = {tuple(round(v, 2) for v in box) for box in predictions.boxes[certain].tolist()}
    assert found <= {tuple(round(v, 2) for v in box) for box in objects.boxes.tolist()}


def test_halves_of_a_batch_add_up() -> None:
    objects = random_objects(20, 2)
    maps = [torch.randn(3, 21, r, c, generator=torch.Generator().manual_seed(r)) for r, c in GRIDS]
    count = sum(len(p.target) for p in assign(SPEC.heads, objects, GRIDS, SIZE))
    whole = loss_of(maps, objects, count).total
    parts = torch.zeros(())
    for image in range(3):
        own = objects.image == image
        few = Objects(
            image=objects.image[own] - image, label=objects.label[own], boxes=objects.boxes[own]
        )
        parts += loss_of([m[image : image + 1] for m in maps], few, count).total
    assert parts.item() == pytest.approx(whole.item(), rel=1e-5)


def test_predictions_that_overlap_an_object_but_do_not_answer_for_it_are_ignored() -> None:
    objects = random_objects(1, 3)
    maps = perfect_maps(objects)
    positives = assign(SPEC.heads, objects, GRIDS, SIZE)
    head = next(n for n, p in enumerate(positives) if len(p.target))
    at = positives[head]
    # A neighboring anchor of the same cell predicts the same box, and is sure of it.
    other = next(a for a in range(3) if a not in at.anchor.tolist())
    t = maps[head].reshape(3, 3, 7, *GRIDS[head])
    place = (int(at.image[0]), slice(None), int(at.row[0]), int(at.column[0]))
    source = t[place[0], int(at.anchor[0]), :, place[2], place[3]].clone()
    anchors = SPEC.heads[head].anchors
    own, its = anchors[int(at.anchor[0])], anchors[other]
    source[2] += math.log(own[0] / its[0])
    source[3] += math.log(own[1] / its[1])
    t[place[0], other, :, place[2], place[3]] = source
    assert loss_of(maps, objects).objectness < 1e-4
    # Elsewhere the same certainty is an error.
    t[(place[0] + 1) % 3, other, 4, place[2], place[3]] = 30.0
    assert loss_of(maps, objects).objectness > 10


def test_the_cfg_says_from_which_overlap_on_predictions_are_ignored() -> None:
    text = (
        "[net]\nheight=32\nwidth=32\nchannels=3\n[convolutional]\nfilters=6\nactivation=linear\n"
        "[yolo]\nanchors=1,1\nnum=1\nmask=0\nclasses=1\n"
    )
    (head,) = trainable_heads(parse_cfg(text))
    assert ignore_iou(head) == 0.5
    (head,) = trainable_heads(parse_cfg(text + "ignore_thresh=.25\n"))
    assert ignore_iou(head) == 0.25
    (head,) = trainable_heads(parse_cfg(text + "ignore_thresh=2\n"))
    with pytest.raises(CfgError, match=r"ignore_thresh=2 must be in \[0, 1\]"):
        ignore_iou(head)


def test_ciou_by_hand() -> None:
    a = torch.tensor([[0.0, 0, 10, 10]])
    assert ciou(a, a).item() == pytest.approx(1.0, abs=1e-5)
    # Same shape, moved by (10, 0): IoU 0, centers 10 apart, outer diagonal^2 = 20^2 + 10^2.
    assert ciou(a, a + torch.tensor([10.0, 0, 10, 0])).item() == pytest.approx(-100 / 500, abs=1e-5)
    # 10x10 in the middle of 20x10: IoU 0.5, no distance, v = 4/pi^2 (atan 2 - atan 1)^2.
    wide = torch.tensor([[-5.0, 0, 15, 10]])
    v = 4 / math.pi**2 * (math.atan(2) - math.atan(1)) ** 2
    assert ciou(a, wide).item() == pytest.approx(0.5 - v * v / (0.5 + v), abs=1e-5)


def test_gradients_of_ciou_are_right() -> None:
    """Against differences of the loss with the shape term's weight held, as the paper has it."""
    generator = torch.Generator().manual_seed(0)
    corners = torch.rand(6, 2, generator=generator, dtype=torch.float64) * 10
    boxes = torch.cat((corners, corners + 3), dim=1)
    truth = boxes + torch.rand(6, 4, generator=generator, dtype=torch.float64)
    leaf = boxes.clone().requires_grad_()
    (found,) = torch.autograd.grad(ciou(leaf, truth).sum(), leaf)

    def held(moved: torch.Tensor) -> torch.Tensor:
        """IoU, distance and shape terms by the paper's formulas; the weight is of `boxes`."""

        def terms(b: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
            sides = torch.minimum(b[:, 2:], truth[:, 2:]) - torch.maximum(b[:, :2], truth[:, :2])
            overlap = sides.clamp(min=0).prod(dim=1)
            areas = [(x[:, 2:] - x[:, :2]).prod(dim=1) for x in (b, truth)]
            iou = overlap / (areas[0] + areas[1] - overlap)
            outer = torch.maximum(b[:, 2:], truth[:, 2:]) - torch.minimum(b[:, :2], truth[:, :2])
            between = (b[:, :2] + b[:, 2:] - truth[:, :2] - truth[:, 2:]) / 2
            angles = [torch.atan((x[:, 2] - x[:, 0]) / (x[:, 3] - x[:, 1])) for x in (truth, b)]
            v = 4 / math.pi**2 * (angles[0] - angles[1]) ** 2
            return iou, between.square().sum(dim=1) / outer.square().sum(dim=1), v

        iou, _, v = terms(boxes)
        alpha = v / (1 - iou + v)
        iou, distance, v = terms(moved)
        return iou - distance - alpha * v

    step = 1e-6
    for entry in range(4):
        shift = torch.zeros(4, dtype=torch.float64)
        shift[entry] = step
        slope = (held(boxes + shift) - held(boxes - shift)) / (2 * step)
        assert torch.allclose(found[:, entry], slope, rtol=1e-4, atol=1e-5)


def test_an_empty_batch_only_quietens() -> None:
    nothing = Objects(
        image=torch.zeros(0, dtype=torch.int64),
        label=torch.zeros(0, dtype=torch.int64),
        boxes=torch.zeros(0, 4),
    )
    maps = [torch.zeros(2, 21, r, c, requires_grad=True) for r, c in GRIDS]
    loss = loss_of(maps, nothing)
    assert loss.box == 0 and loss.classes == 0
    assert loss.objectness.item() == pytest.approx(2 * 3 * (12 + 48) * math.log(2), rel=1e-5)


def test_heads_of_other_kinds_cannot_be_trained() -> None:
    region = parse_cfg(
        "[net]\nheight=32\nwidth=32\nchannels=3\n[convolutional]\nfilters=7\nactivation=linear\n"
        "[region]\nanchors=1,1\nnum=1\nclasses=2\nsoftmax=1\n"
    )
    with pytest.raises(CfgError, match=r"only \[yolo\] heads"):
        trainable_heads(region)
    assert trainable_heads(with_input_size(SPEC, 64, 64)) == SPEC.heads


def test_an_anchor_of_0_leaves_loss_and_gradients_finite() -> None:
    def spec(anchors: str) -> NetworkSpec:
        return parse_cfg(
            "[net]\nheight=32\nwidth=32\nchannels=3\n[convolutional]\nfilters=14\nstride=8\n"
            f"[yolo]\nmask=0,1\nanchors={anchors}\nnum=2\nclasses=2\n"
        )

    (head,) = trainable_heads(spec("0,3, 9,9"))
    raw = torch.zeros(1, 14, 4, 4, requires_grad=True)
    objects = Objects(
        image=torch.zeros(1, dtype=torch.int64),
        label=torch.zeros(1, dtype=torch.int64),
        boxes=torch.tensor([[11.5, 11.5, 20.5, 20.5]]),
    )
    positives = assign([head], objects, [(4, 4)], (32, 32))
    assert positives[0].anchor.tolist() == [1]
    wanted = targets([head], [(4, 4)], objects, positives, 1)
    detection_loss([head], [raw], wanted, (32, 32), 1.0).total.backward()
    assert raw.grad is not None and raw.grad.isfinite().all()
    with pytest.raises(CfgError, match=r"layer 1 \[yolo\]: all anchors are 0 wide or high"):
        trainable_heads(spec("0,3, 9,0"))
