"""What is foretold of slim networks, against average precision where objects are certain."""

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.reporters import Heard
from yoloprune.data.calibration import Calibration
from yoloprune.data.inputs import image_input
from yoloprune.detection.decode import Detections
from yoloprune.errors import DatasetError, UsageError
from yoloprune.evaluation.average_precision import (
    GroundTruth,
    average_precisions,
    match_image,
    nearest_matches,
    rank,
)
from yoloprune.graph.model import Model
from yoloprune.report.sweep_plot import SweepPoint
from yoloprune.workflows.prediction import (
    PREDICTED,
    expected_map,
    finetuned,
    foretold,
    kept_share,
    knee,
    prediction_errors,
)
from yoloprune.workflows.prune import prune
from yoloprune.workflows.sweep import sweep


def detections(generator: torch.Generator, count: int) -> Detections:
    corner = torch.rand(count, 2, generator=generator) * 50
    boxes = torch.cat((corner, corner + 20 + 10 * torch.rand(count, 2, generator=generator)), 1)
    scores = torch.rand(count, generator=generator).sort(descending=True).values
    labels = torch.randint(0, 3, (count,), generator=generator)
    return Detections(boxes_xyxy=boxes, scores=scores, labels=labels)


def test_of_certain_objects_it_is_average_precision() -> None:
    generator = torch.Generator().manual_seed(0)
    truth = [detections(generator, 8) for _ in range(5)]
    found = [detections(generator, 40) for _ in range(5)]
    certain = [
        Detections(boxes_xyxy=d.boxes_xyxy, scores=torch.ones(8), labels=d.labels) for d in truth
    ]
    matched = [
        match_image(one, GroundTruth(boxes_xyxy=d.boxes_xyxy, labels=d.labels), nearest_matches)
        for one, d in zip(found, truth, strict=True)
    ]
    wanted = float(np.nanmean(average_precisions(rank(matched, 3))))
    assert 0 < wanted < 1
    assert expected_map(certain, found) == pytest.approx(wanted, rel=1e-12)
    assert expected_map(certain, certain) == 1
    nothing = Detections(
        boxes_xyxy=torch.zeros(0, 4), scores=torch.zeros(0), labels=torch.zeros(0).long()
    )
    assert expected_map([nothing], [nothing]) == 0
    assert expected_map(certain[:1], [nothing]) == 0


def test_the_errors_of_predictions_and_the_knee() -> None:
    figures = ((0.9, 0.45, 0.46), (0.8, 0.43, 0.44), (0.7, 0.3, 0.36), (0.6, 0.31, 0.2))
    points = [
        SweepPoint(criterion="l2", keep_macs=share, figure=figure, predicted=told)
        for share, figure, told in figures
    ]
    errors = prediction_errors(points)
    assert errors["mean_error"] == pytest.approx((0.01 + 0.01 + 0.06 + 0.11) / 4)
    # One pair of four is the wrong way round: 1 - 6 * 2 / (4 * 15).
    assert errors["spearman"] == pytest.approx(0.8)
    assert knee(points, 0.5).keep_macs == 0.8
    assert prediction_errors([SweepPoint(criterion="l2", keep_macs=0.5, figure=0.1)]) == {}


def test_fine_tuning_is_told_from_what_it_did_elsewhere() -> None:
    assert finetuned(0.3, 0.5) == pytest.approx((0.42, 0.5))
    assert finetuned(0.6, 0.5) == (0.6, 0.6)


def test_a_sweep_re_fits_and_foretells_on_images_apart(
    detector: Model, painted: Path, tmp_path: Path
) -> None:
    heard = Heard()
    told = sweep(
        detector, painted, images=painted / "images" / "train", shares=(0.9, 0.6), split="test",
        calibration_images=8, reporter=heard,
    )  # fmt: skip
    assert told.refitted == 8 and not heard.warnings
    document = told.shown().document
    assert [point["criterion"] for point in document["points"]] == ["reconstruction"] * 2
    assert all(0 <= point["predicted"] <= told.dense for point in document["points"])
    assert document["knee"]["keep_macs"] in {point["keep_macs"] for point in document["points"]}
    low, high = document["knee"]["finetuned"]
    assert document["knee"]["figure"] <= low <= high == pytest.approx(told.dense)
    assert any(f"{low:.4f} and {high:.4f}" in line for line in told.shown().lines)
    assert "mean_error" in document["prediction"]
    assert "sweep.png" in told.save(tmp_path)

    alone = sweep(detector, images=painted / "images" / "train", shares=(0.9,))
    assert (alone.measure, alone.dense) == (PREDICTED, 1.0)
    assert alone.refitted == 11 and alone.images == 5
    assert 0 < alone.points[0].figure <= 1

    # What is evaluated on is not fitted on.
    both = sweep(
        detector, painted, images=painted, shares=(0.9,), split="train", limit=4, criteria="l2",
        reporter=heard,
    )  # fmt: skip
    assert both.refitted < 16 and "4 images left out" in heard.warnings[-1]
    with pytest.raises(DatasetError, match="all of its 4 images are measured on"):
        sweep(detector, painted, images=painted / "images" / "test", shares=(0.9,), split="test")
    with pytest.raises(UsageError, match="give `data`"):
        sweep(detector, shares=(0.9,))


def test_rehearsed_networks_tell_how_soon_losses_are_losses_of_map(detector: Model) -> None:
    told = foretold(detector, calibration_of(detector), device=torch.device("cpu"))
    assert told is not None and told.agreement(detector) == pytest.approx(1)
    rehearsed = [prune(detector, {"macs": share}).slim for share in (0.95, 0.8)]

    def measured(network: Model) -> float:
        # A network that loses its mAP later than its detections tell.
        return 0.4 * (1 - (1 - told.agreement(network)) ** 2)

    assert told.fitted(detector, rehearsed, measured).power == pytest.approx(2, rel=0.05)
    assert told.fitted(detector, rehearsed, lambda network: 0.0) is told
    assert kept_share(0.5, 2.0) == 0.75 and kept_share(1.0, 0.5) == 1


def calibration_of(network: Model) -> Calibration:
    images = torch.rand(4, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    return Calibration(
        reads=image_input(network, None), images=images, unseen=images, samples=(), skipped=0
    )
