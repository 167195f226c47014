"""Our use of pycocotools against its usual way over JSON files, and against numbers by hand."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from yoloprune.detection.decode import Detections
from yoloprune.evaluation.average_precision import GroundTruth
from yoloprune.evaluation.coco import coco_average_precisions


def detections(rows: list[tuple[float, ...]]) -> Detections:
    """From [left, top, right, bottom, score, label]."""
    table = torch.tensor(rows, dtype=torch.float64).reshape(-1, 6)
    return Detections(boxes_xyxy=table[:, :4], scores=table[:, 4], labels=table[:, 5].long())


def truth(rows: list[tuple[float, ...]]) -> GroundTruth:
    """From [left, top, right, bottom, label]."""
    table = torch.tensor(rows, dtype=torch.float64).reshape(-1, 5)
    return GroundTruth(boxes_xyxy=table[:, :4], labels=table[:, 4].long())


def test_numbers_by_hand(capsys: pytest.CaptureFixture[str]) -> None:
    found = detections(
        [
            (0, 0, 100, 100, 0.9, 0),
            (500, 500, 600, 600, 0.8, 0),
            # IoU 0.77 with its object: correct up to the threshold 0.75, which is the sixth.
            (200, 200, 300, 277, 0.7, 0),
        ]
    )
    objects = truth([(0, 0, 100, 100, 0), (200, 200, 300, 300, 0), (0, 0, 50, 50, 2)])
    averages = coco_average_precisions([found], [objects], 3)
    # 51 recall points up to 1/2 with precision 1; where both are found, 50 more with 2/3.
    low, high = (51 + 50 * 2 / 3) / 101, 51 / 101
    assert averages.shape == (10, 3)
    assert averages[:, 0] == pytest.approx([low] * 6 + [high] * 4, abs=1e-6)
    assert np.isnan(averages[:, 1]).all()
    assert (averages[:, 2] == 0).all()
    assert capsys.readouterr().out == ""


def test_the_usual_way_gives_the_same(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    found, objects = [], []
    for _ in range(12):
        corners = generator.uniform(0, 300, (6, 2))
        boxes = np.hstack((corners, corners + generator.uniform(5, 120, (6, 2))))
        labels = generator.integers(0, 3, (6, 1))
        objects.append(np.hstack((boxes, labels)))
        moved = np.vstack((boxes + generator.normal(0, 6, boxes.shape), boxes[:3] + 3))
        scores = generator.uniform(0, 1, (9, 1))
        found.append(np.hstack((moved, scores, np.vstack((labels, labels[:3])))))
    averages = coco_average_precisions(
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
    official = COCO(str(tmp_path / "objects.json"))
    evaluation = COCOeval(official, official.loadRes(str(tmp_path / "found.json")), "bbox")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    assert 0.2 < evaluation.stats[0] < evaluation.stats[1] < 0.95
    assert averages.mean() == pytest.approx(evaluation.stats[0], abs=1e-6)
    assert averages[0].mean() == pytest.approx(evaluation.stats[1], abs=1e-6)


def test_a_hundred_detections_an_image_and_class_count() -> None:
    objects = truth([(0, 0, 100, 100, 0)])
    for wrong, expected in ((99, 0.01), (100, 0.0)):
        rows = [(300, 300, 400, 400, 0.9, 0)] * wrong + [(0, 0, 100, 100, 0.5, 0)]
        averages = coco_average_precisions([detections(rows)], [objects], 1)
        assert averages[0, 0] == pytest.approx(expected, abs=1e-6)


def test_no_detections_at_all() -> None:
    averages = coco_average_precisions([detections([])], [truth([(0, 0, 9, 9, 0)])], 1)
    assert (averages == 0).all()
