"""Scores keep their meaning: which outputs hold them, and detections that come back."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.color_detector import GREEN_OBJECT, paint
from tests.color_onnx import color_onnx
from tests.frontends.onnx.models import loaded
from yoloprune.data.calibration import fitted_images
from yoloprune.data.inputs import image_input
from yoloprune.pruning.recover.score_rows import Scored, score_rows
from yoloprune.report.pruning import confidence_lines
from yoloprune.workflows import confidence
from yoloprune.workflows.confidence import confident, scored_outputs, shown
from yoloprune.workflows.prune import prune


def test_the_decoder_tells_which_entries_of_a_file_are_scores(tmp_path: Path) -> None:
    network = loaded(color_onnx(), tmp_path)
    asked = scored_outputs(network, image_input(network))
    assert asked == {"output": Scored(axis=2, objectness=(4,), classes=(5, 6))}
    images = torch.full((1, 3, 32, 32), 255.0)
    objectness, classes = score_rows((network.graph, network.parameters), images, asked)
    assert [(rows.value, rows.filters) for rows in objectness] == [
        (f"map{stride}", (4,)) for stride in (8, 16, 32)
    ]
    assert [rows.filters for rows in classes] == [(5, 6)] * 3


def test_detections_that_became_faint_are_shown_again(tmp_path: Path) -> None:
    network = loaded(color_onnx(), tmp_path)
    reads = image_input(network)
    cells = {(x, y): GREEN_OBJECT for x in range(4) for y in range(3)}
    paint(tmp_path / "image.png", (32, 32), cells)
    images, _, _ = fitted_images(reads, tmp_path, [tmp_path / "image.png"], 1)
    cut = prune(network, {"macs": 1.0})
    faint = dict(network.parameters)
    faint["bias8"] = faint["bias8"] - torch.tensor([0, 0, 0, 0, 12.0, 0, 0])
    cut = replace(cut, slim=replace(cut.slim, parameters=faint))
    images = images.repeat(8, 1, 1, 1)
    assert (shown(network, network, images), shown(cut.slim, network, images)) == (96, 0)
    parameters, found = confident(cut, reads, images, images)
    assert (found["dense"], found["before"], found["after"], found["images"]) == (96, 0, 96, 8)
    assert not torch.equal(parameters["bias8"], faint["bias8"])
    for name in ("bias16", "bias32"):
        assert torch.equal(parameters[name], faint[name])


def test_scores_that_would_show_less_of_what_was_seen_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = loaded(color_onnx(), tmp_path)
    paint(tmp_path / "image.png", (32, 32), {(1, 1): GREEN_OBJECT})
    reads = image_input(network)
    images, _, _ = fitted_images(reads, tmp_path, [tmp_path / "image.png"], 1)
    cut = prune(network, {"macs": 1.0})
    faint = network.parameters | {"bias8": network.parameters["bias8"] - 1}
    cut = replace(cut, slim=replace(cut.slim, parameters=faint))
    # Dense, before and after.
    counts = iter((136, 154, 192))
    monkeypatch.setattr(confidence, "shown", lambda *_: next(counts))
    parameters, found = confident(cut, reads, images, images)
    assert not found["kept"]
    assert all(torch.equal(parameters[name], array) for name, array in faint.items())
    (line,) = confidence_lines(found)
    assert "as recovery left them" in line and "154" in line and "136" in line and "192" in line


def test_without_a_decoder_nothing_changes(tmp_path: Path) -> None:
    cut = prune(loaded(color_onnx(), tmp_path), {"macs": 1.0})
    parameters, found = confident(cut, None, torch.zeros(1, 3, 32, 32), torch.zeros(0))
    assert found == {"lines": {}}
    assert all(array is cut.slim.parameters[name] for name, array in parameters.items())
