"""Suppression against OpenCV's, and against the definitions in loops."""

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from yoloprune.detection.boxes import box_diou, box_iou, pixel_box_iou
from yoloprune.detection.decode import Detections, Predictions
from yoloprune.detection.nms import darknet_overlap, merge_detections, nms, select_detections
from yoloprune.frontends.darknet.parser import parse_cfg
from yoloprune.frontends.darknet.spec import NetworkSpec


def random_boxes(count: int, seed: int, image: float = 200.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    center = torch.rand(count, 2, generator=generator) * image
    half = torch.rand(count, 2, generator=generator) * 30 + 2
    return torch.cat((center - half, center + half), dim=1)


def random_predictions(count: int, classes: int, seed: int, batch: int = 2) -> Predictions:
    generator = torch.Generator().manual_seed(seed)
    return Predictions(
        boxes=torch.stack([random_boxes(count, seed + i) for i in range(batch)]),
        objectness=torch.rand(batch, count, generator=generator),
        classes=torch.rand(batch, count, classes, generator=generator),
    )


def greedy(boxes: Tensor, scores: Tensor, labels: Tensor, threshold: float) -> list[int]:
    kept: list[int] = []
    overlaps, score, label = box_iou(boxes, boxes).tolist(), scores.tolist(), labels.tolist()
    limit = np.float32(threshold)
    for i in sorted(range(len(boxes)), key=lambda i: -score[i]):
        if all(overlaps[k][i] <= limit for k in kept if label[k] == label[i]):
            kept.append(i)
    return kept


@pytest.mark.parametrize("count", [0, 1, 40, 700])
@pytest.mark.parametrize("classes", [1, 7])
@pytest.mark.parametrize("threshold", [0.0, 0.45, 1.0])
def test_the_result_is_the_greedy_one(count: int, classes: int, threshold: float) -> None:
    boxes = random_boxes(count, seed=count)
    generator = torch.Generator().manual_seed(count)
    # Few distinct values, so that ties occur.
    scores = torch.randint(0, 100, (count,), generator=generator) / 100
    labels = torch.randint(classes, (count,), generator=generator)
    kept = nms(boxes, scores, labels, threshold)
    assert kept.tolist() == greedy(boxes, scores, labels, threshold)


@pytest.mark.parametrize("limit", [1, 20, 1000])
@pytest.mark.parametrize("classes", [1, 5])
def test_a_limit_keeps_the_first_of_each_class(limit: int, classes: int) -> None:
    boxes = random_boxes(1500, seed=3)
    generator = torch.Generator().manual_seed(3)
    scores = torch.randint(0, 100, (1500,), generator=generator) / 100
    labels = torch.randint(classes, (1500,), generator=generator)
    counts = [0] * classes
    expected = []
    for index in nms(boxes, scores, labels, 0.45).tolist():
        label = int(labels[index])
        counts[label] += 1
        expected += [index] * (counts[label] <= limit)
    assert max(counts) > 20
    assert nms(boxes, scores, labels, 0.45, limit=limit).tolist() == expected


@pytest.mark.parametrize("seed", range(5))
def test_the_result_is_that_of_opencv(seed: int) -> None:
    boxes = random_boxes(600, seed)
    scores = torch.rand(600, generator=torch.Generator().manual_seed(seed))
    corner_and_size = torch.cat((boxes[:, :2], boxes[:, 2:] - boxes[:, :2]), dim=1)
    theirs = cv2.dnn.NMSBoxes(corner_and_size.tolist(), scores.tolist(), 0.0, 0.45)
    kept = nms(boxes, scores, torch.zeros(600, dtype=torch.int64), 0.45)
    assert kept.tolist() == np.asarray(theirs).ravel().tolist()


def test_a_long_chain_of_overlaps_is_resolved_in_order() -> None:
    # Each box overlaps only its neighbors: every second one stays.
    left = torch.arange(1000.0) * 4
    boxes = torch.stack((left, torch.zeros(1000), left + 10, torch.full((1000,), 10.0)), dim=1)
    scores = torch.linspace(1, 0.5, 1000)
    kept = nms(boxes, scores, torch.zeros(1000, dtype=torch.int64), 0.3)
    assert kept.tolist() == list(range(0, 1000, 2))


def test_every_class_above_the_threshold_is_a_detection() -> None:
    predictions = random_predictions(300, classes=4, seed=1)
    for image, found in enumerate(select_detections(predictions, 0.3, 0.45)):
        boxes = predictions.boxes[image]
        scores = predictions.objectness[image, :, None] * predictions.classes[image]
        expected = []
        for label in range(4):
            candidates = [i for i in range(300) if scores[i, label] > 0.3]
            kept = greedy(
                boxes[candidates],
                scores[candidates, label],
                torch.zeros(len(candidates)),
                0.45,
            )
            expected += [(candidates[k], label) for k in kept]
        expected.sort(key=lambda pair: -scores[pair].item())
        assert found.labels.tolist() == [label for _, label in expected]
        assert torch.equal(found.boxes_xyxy, boxes[[i for i, _ in expected]])
        assert found.scores.tolist() == [scores[pair].item() for pair in expected]


def by_darknets_loop(
    boxes: list[list[float]], scores: list[float], power: float, threshold: float
) -> list[int]:
    """`diounms_sort` of darknet's `src/box.c` for one class; boxes (cx, cy, w, h) in [0, 1]."""

    def overlap(a: list[float], b: list[float]) -> float:
        shared, outer = [], []
        for axis in (0, 1):
            lows = a[axis] - a[axis + 2] / 2, b[axis] - b[axis + 2] / 2
            highs = a[axis] + a[axis + 2] / 2, b[axis] + b[axis + 2] / 2
            shared.append(min(highs) - max(lows))
            outer.append(max(highs) - min(lows))
        both = shared[0] * shared[1] if min(shared) > 0 else 0.0
        iou = both / (a[2] * a[3] + b[2] * b[3] - both) if both else 0.0
        diagonal = outer[0] ** 2 + outer[1] ** 2
        apart = (a[0] - b[0]) ** 2 + (a[1] - b[1]) ** 2
        return iou - (apart / diagonal) ** power if diagonal else iou

    kept: list[int] = []
    for i in sorted(range(len(boxes)), key=lambda i: -scores[i]):
        if all(overlap(boxes[k], boxes[i]) <= threshold for k in kept):
            kept.append(i)
    return kept


def with_suppression(*lines: str, head: str = "yolo") -> NetworkSpec:
    options = "".join(f"{line}\n" for line in lines)
    entries = 20 if head == "Gaussian_yolo" else 12
    return parse_cfg(
        f"[net]\nchannels=3\nheight=32\nwidth=64\n[convolutional]\nfilters={entries}\n"
        f"[{head}]\nmask=0,1\nanchors=16,16, 16,16\nclasses=1\nnum=2\nsoftmax=1\n{options}"
    )


@pytest.mark.parametrize(
    ("lines", "power"),
    [(["nms_kind=greedynms"], 0.6), (["nms_kind=greedynms", "beta_nms=0.3"], 0.6),
     (["nms_kind=diounms"], 0.6), (["nms_kind=diounms", "beta_nms=0.3"], 0.3)],
)  # fmt: skip
@pytest.mark.parametrize("head", ["yolo", "Gaussian_yolo"])
def test_suppression_follows_nms_kind_as_in_darknet(
    lines: list[str], power: float, head: str
) -> None:
    width, height = 640.0, 160.0
    boxes = random_boxes(300, seed=3, image=160.0)
    scores = torch.rand(300, generator=torch.Generator().manual_seed(3))
    overlap = darknet_overlap(with_suppression(*lines, head=head), (width, height))
    kept = nms(boxes, scores, torch.zeros(300, dtype=torch.int64), 0.4, overlap)
    shares = torch.cat(((boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]), dim=1)
    shares = shares.double() / torch.tensor([width, height] * 2, dtype=torch.float64)
    expected = by_darknets_loop(shares.tolist(), scores.tolist(), power, 0.4)
    assert kept.tolist() == expected
    # It matters, both the kind and the image's shape.
    others = [box_iou, darknet_overlap(with_suppression(*lines), (1.0, 1.0))]
    for other in others:
        labels = torch.zeros(300, dtype=torch.int64)
        assert nms(boxes, scores, labels, 0.4, other).tolist() != expected


@pytest.mark.parametrize(
    ("head", "kind"),
    [("yolo", "default"), ("yolo", "cornersnms"), ("yolo", "softnms"), ("region", "greedynms"),
     ("Gaussian_yolo", "cornersnms")],
)  # fmt: skip
def test_other_kinds_come_to_the_iou(head: str, kind: str) -> None:
    spec = with_suppression(f"nms_kind={kind}", head=head)
    assert darknet_overlap(spec, (1.0, 1.0)) is box_iou
    assert darknet_overlap(with_suppression(), (1.0, 1.0)) is box_iou


def test_distance_lowers_the_iou() -> None:
    # Half of each box is shared: IoU 1/3 or 1/2, less (d / c)^1.2.
    a = torch.tensor([[0.0, 0.0, 16.0, 16.0]])
    b = torch.tensor([[16 / 3, 0.0, 64 / 3, 16.0], [0.0, 0.0, 16.0, 16.0], [4.0, 4.0, 4.0, 4.0]])
    apart, around = 16 / 3, ((64 / 3) ** 2 + 16**2) ** 0.5
    expected = [0.5 - (apart / around) ** 1.2, 1.0, -(((32**0.5) / (2 * 128**0.5)) ** 1.2)]
    torch.testing.assert_close(box_diou(a, b, 0.6), torch.tensor([expected]))
    point = torch.zeros(1, 4)
    assert box_diou(point, point, 0.6).item() == 0


@pytest.mark.parametrize("classes", [1, 3])
def test_merging_is_that_of_the_case_study(classes: int) -> None:
    predictions = random_predictions(500, classes, seed=2)
    for image, found in enumerate(merge_detections(predictions, 0.1, 0.5)):
        expected = merged_in_a_loop(predictions, image, 0.1, 0.5)
        torch.testing.assert_close(found.boxes_xyxy, expected.boxes_xyxy)
        assert torch.equal(found.scores, expected.scores)
        assert torch.equal(found.labels, expected.labels)


def merged_in_a_loop(
    predictions: Predictions, image: int, threshold: float, iou_threshold: float
) -> Detections:
    """Take the best box, merge all that overlap it into it, take it away with them, repeat."""
    chosen = predictions.objectness[image] >= threshold
    boxes, objectness = predictions.boxes[image][chosen], predictions.objectness[image][chosen]
    likelihood, labels = predictions.classes[image][chosen].max(dim=1)
    order = (objectness * likelihood).argsort(descending=True)
    boxes, objectness, labels = boxes[order], objectness[order], labels[order]
    merged, scores, classes = [], [], []
    while len(boxes):
        mates = (pixel_box_iou(boxes[:1], boxes)[0] > iou_threshold) & (labels == labels[0])
        weights = objectness[mates, None]
        merged.append((weights * boxes[mates]).sum(0) / weights.sum())
        scores.append(objectness[0])
        classes.append(labels[0])
        boxes, objectness, labels = boxes[~mates], objectness[~mates], labels[~mates]
    return Detections(
        boxes_xyxy=torch.stack(merged), scores=torch.stack(scores), labels=torch.stack(classes)
    )


def test_merged_boxes_are_weighted_by_objectness() -> None:
    predictions = Predictions(
        boxes=torch.tensor([[[0.0, 0.0, 9.0, 9.0], [1.0, 0.0, 10.0, 9.0]]]),
        objectness=torch.tensor([[0.25, 0.75]]),
        # The second has the higher objectness, the first the higher score.
        classes=torch.tensor([[[1.0], [0.1]]]),
    )
    (found,) = merge_detections(predictions)
    assert found.boxes_xyxy.tolist() == [[0.75, 0.0, 9.75, 9.0]]
    assert found.scores.tolist() == [0.25]


def test_nothing_found_is_no_detection() -> None:
    predictions = Predictions(
        boxes=torch.zeros(1, 5, 4), objectness=torch.zeros(1, 5), classes=torch.ones(1, 5, 2)
    )
    for found in (*select_detections(predictions, 0.1, 0.5), *merge_detections(predictions)):
        assert (found.boxes_xyxy.shape, found.scores.shape) == ((0, 4), (0,))
        assert found.labels.dtype == torch.int64


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_boxes_of_a_diverged_network_are_dropped(value: float) -> None:
    predictions = Predictions(
        boxes=torch.tensor([[[0.0, 0.0, value, 9.0], [0.0, 0.0, 9.0, 9.0]]]),
        objectness=torch.ones(1, 2),
        classes=torch.ones(1, 2, 1),
    )
    for found in (*select_detections(predictions, 0.1, 0.5), *merge_detections(predictions)):
        assert found.boxes_xyxy.tolist() == [[0.0, 0.0, 9.0, 9.0]]
