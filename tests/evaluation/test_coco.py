"""Our numbers against those of pycocotools, and against numbers by hand."""

import io
import json
from contextlib import redirect_stdout
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from yoloprune.detection.decode import Detections, Predictions
from yoloprune.detection.nms import select_detections
from yoloprune.evaluation.average_precision import GroundTruth, match_image, rank
from yoloprune.evaluation.coco import (
    DETECTION_LIMIT,
    IOU_THRESHOLDS,
    RECALL_THRESHOLDS,
    coco_average_precisions,
    coco_matches,
)


def detections(rows: list[tuple[float, ...]]) -> Detections:
    """From [left, top, right, bottom, score, label]."""
    table = torch.tensor(rows, dtype=torch.float64).reshape(-1, 6)
    return Detections(boxes_xyxy=table[:, :4], scores=table[:, 4], labels=table[:, 5].long())


def truth(rows: list[tuple[float, ...]]) -> GroundTruth:
    """From [left, top, right, bottom, label]."""
    table = torch.tensor(rows, dtype=torch.float64).reshape(-1, 5)
    return GroundTruth(boxes_xyxy=table[:, :4], labels=table[:, 4].long())


def upright(boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Boxes whose right is not left of their left: pycocotools ignores negative areas."""
    return np.hstack((boxes[:, :2], np.maximum(boxes[:, 2:], boxes[:, :2])))


def averages_of(
    found: list[Detections], objects: list[GroundTruth], classes: int
) -> NDArray[np.float64]:
    images = [match_image(*pair, coco_matches) for pair in zip(found, objects, strict=True)]
    return coco_average_precisions(rank(images, classes), range(len(IOU_THRESHOLDS)))


def official(
    found: list[Detections], objects: list[GroundTruth], classes: int
) -> NDArray[np.float64]:
    """Average precision (T, K), all of it by pycocotools in its usual way."""

    def coco(annotations: list[dict[str, object]]) -> COCO:
        result = COCO()
        result.dataset = {
            "images": [{"id": index} for index in range(len(objects))],
            "categories": [{"id": label} for label in range(classes)],
            "annotations": annotations,
        }
        result.createIndex()
        return result

    def annotated(images: list[Detections] | list[GroundTruth]) -> list[dict[str, object]]:
        entries: list[dict[str, object]] = []
        for image, boxes in enumerate(images):
            scores = getattr(boxes, "scores", torch.zeros(len(boxes.labels))).tolist()
            for box, label, score in zip(
                boxes.boxes_xyxy.tolist(), boxes.labels.tolist(), scores, strict=True
            ):
                width, height = box[2] - box[0], box[3] - box[1]
                entries.append(
                    {
                        # pycocotools takes 0 for "no match".
                        "id": len(entries) + 1,
                        "image_id": image,
                        "category_id": label,
                        "bbox": [*box[:2], width, height],
                        "area": width * height,
                        "iscrowd": 0,
                        "score": score,
                    }
                )
        return entries

    with redirect_stdout(io.StringIO()):
        evaluation = COCOeval(coco(annotated(objects)), coco(annotated(found)), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
    averages = evaluation.eval["precision"][:, :, :, 0, -1].mean(axis=1)
    return np.where(averages < 0, np.nan, averages)


def test_the_thresholds_are_those_of_pycocotools() -> None:
    parameters = COCOeval(iouType="bbox").params
    assert np.array_equal(IOU_THRESHOLDS, parameters.iouThrs)
    assert np.array_equal(RECALL_THRESHOLDS, parameters.recThrs)
    assert parameters.maxDets[-1] == DETECTION_LIMIT


def test_numbers_by_hand() -> None:
    found = detections(
        [
            (0, 0, 100, 100, 0.9, 0),
            (500, 500, 600, 600, 0.8, 0),
            # IoU 0.77 with its object: correct up to the threshold 0.75, which is the sixth.
            (200, 200, 300, 277, 0.7, 0),
        ]
    )
    objects = truth([(0, 0, 100, 100, 0), (200, 200, 300, 300, 0), (0, 0, 50, 50, 2)])
    averages = averages_of([found], [objects], 3)
    # 51 recall points up to 1/2 with precision 1; where both are found, 50 more with 2/3.
    low, high = (51 + 50 * 2 / 3) / 101, 51 / 101
    assert averages.shape == (10, 3)
    assert averages[:, 0] == pytest.approx([low] * 6 + [high] * 4, abs=1e-6)
    assert np.isnan(averages[:, 1]).all()
    assert (averages[:, 2] == 0).all()


@pytest.mark.parametrize("seed", range(8))
def test_pycocotools_gives_the_same_to_the_last_bit(seed: int) -> None:
    """Crowded images, few scores, boxes on a coarse grid: equal scores and equal IoUs abound."""
    generator = np.random.default_rng(seed)
    classes, grid = int(generator.integers(1, 5)), float(generator.choice([1, 5, 20]))
    found, objects = [], []
    for _ in range(12):
        count, more = generator.integers(0, 12), generator.integers(0, 9)
        corners = generator.uniform(0, 100, (count, 2))
        boxes = np.hstack((corners, corners + generator.uniform(5, 80, (count, 2))))
        boxes = np.round(boxes / grid) * grid
        labels = generator.integers(0, classes, (count, 1))
        objects.append(truth(np.hstack((boxes, labels)).tolist()))
        moved = upright(boxes + np.round(generator.normal(0, 4, boxes.shape) / grid) * grid)
        corners = generator.uniform(0, 60, (more, 2))
        rows = np.vstack((moved, moved, np.hstack((corners, corners + 30))))
        scores = generator.integers(1, 12, (len(rows), 1)) / 11
        labels = np.vstack((labels, labels, generator.integers(0, classes, (more, 1))))
        found.append(detections(np.hstack((rows, scores, labels)).tolist()))
    expected = official(found, objects, classes)
    assert 0.02 < np.nanmean(expected) < 0.98
    assert np.array_equal(averages_of(found, objects, classes), expected, equal_nan=True)


def test_of_two_objects_overlapped_equally_the_last_is_taken() -> None:
    found = [detections([(2, 0, 12, 10, 0.9, 0), (0, 0, 8, 10, 0.8, 0)])]
    left, right = (0, 0, 10, 10, 0), (4, 0, 14, 10, 0)
    for objects, correct in (([left, right], [True, True]), ([right, left], [True, False])):
        there = [truth(list(objects))]
        assert coco_matches(found[0], there[0])[:, 0].tolist() == correct
        assert np.array_equal(averages_of(found, there, 1), official(found, there, 1))


def test_json_files_give_the_same(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    found, objects = [], []
    for _ in range(12):
        corners = generator.uniform(0, 300, (6, 2))
        boxes = np.hstack((corners, corners + generator.uniform(5, 120, (6, 2))))
        labels = generator.integers(0, 3, (6, 1))
        objects.append(np.hstack((boxes, labels)))
        moved = upright(boxes + generator.normal(0, 6, boxes.shape))
        moved = np.vstack((moved, boxes[:3] + 3))
        scores = generator.uniform(0, 1, (9, 1))
        found.append(np.hstack((moved, scores, np.vstack((labels, labels[:3])))))
    averages = averages_of(
        [detections(rows.tolist()) for rows in found],
        [truth(rows.tolist()) for rows in objects],
        3,
    )

    def annotation(image: int, row: np.ndarray) -> dict[str, object]:
        left, top, right, bottom = row[:4].tolist()
        box = [left, top, right - left, bottom - top]
        return {"image_id": image + 1, "category_id": int(row[-1]) + 1, "bbox": box}

    flat = [annotation(i, row) for i, rows in enumerate(objects) for row in rows]
    for number, entry in enumerate(flat):
        box = entry["bbox"]
        entry |= {"id": number + 1, "iscrowd": 0, "area": box[2] * box[3]}
    dataset = {
        "info": {},
        "images": [{"id": i + 1} for i in range(12)],
        "categories": [{"id": k + 1} for k in range(3)],
        "annotations": flat,
    }
    results = [
        annotation(i, row) | {"score": float(row[4])}
        for i, rows in enumerate(found)
        for row in rows
    ]
    (tmp_path / "objects.json").write_text(json.dumps(dataset))
    (tmp_path / "found.json").write_text(json.dumps(results))
    written = COCO(str(tmp_path / "objects.json"))
    evaluation = COCOeval(written, written.loadRes(str(tmp_path / "found.json")), "bbox")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    assert 0.2 < evaluation.stats[0] < evaluation.stats[1] < 0.95
    assert averages.mean() == pytest.approx(evaluation.stats[0], abs=1e-6)
    assert averages[0].mean() == pytest.approx(evaluation.stats[1], abs=1e-6)


def test_a_hundred_detections_an_image_and_class_count() -> None:
    """pycocotools gets everything; ours are cut before they are matched."""
    generator = torch.Generator().manual_seed(0)
    corners = torch.rand(2, 900, 2, generator=generator) * 300
    sizes = torch.rand(2, 900, 2, generator=generator) * 20 + 5
    # Few scores, so that some are equal at the limit.
    certain = torch.randint(1, 20, (2, 900), generator=generator) / 20
    predictions = Predictions(
        boxes=torch.cat((corners, corners + sizes), dim=2),
        objectness=certain,
        classes=torch.rand(2, 900, 2, generator=generator).round(decimals=1),
    )
    whole = select_detections(predictions, 0.1, 0.45)
    assert all(image.labels.bincount().min() > 2 * DETECTION_LIMIT for image in whole)
    objects = [
        GroundTruth(boxes_xyxy=image.boxes_xyxy[::7] + 1, labels=image.labels[::7])
        for image in whole
    ]
    cut = select_detections(predictions, 0.1, 0.45, limit=DETECTION_LIMIT)
    assert all(image.labels.bincount().max() == DETECTION_LIMIT for image in cut)
    expected = official(whole, objects, 2)
    assert np.array_equal(averages_of(cut, objects, 2), expected)
    # More detections would give more.
    assert (averages_of(whole, objects, 2)[0] > expected[0]).all()


def test_no_detections_at_all() -> None:
    averages = averages_of([detections([])], [truth([(0, 0, 9, 9, 0)])], 1)
    assert (averages == 0).all()
