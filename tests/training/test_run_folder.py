import json
import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from tests.training.runs import CONFIG, SPEC
from yoloprune.data.loader import Batch
from yoloprune.errors import CheckpointError
from yoloprune.frontends.darknet.document import model
from yoloprune.frontends.darknet.initialization import training_state
from yoloprune.frontends.darknet.parser import read_cfg
from yoloprune.frontends.darknet.weights import read_weights
from yoloprune.training.run_folder import (
    drawn_lately,
    read_log,
    write_batch_picture,
    write_curves,
    write_log,
    write_network,
    write_settings,
)


def line(epoch: int, map50: float | None = None) -> dict[str, Any]:
    return {
        "epoch": epoch,
        "learning_rate": 0.01,
        "loss": {"box": 1.5, "objectness": 0.5, "classes": 0.25, "distillation": 0.0},
        "zero_channels": 0.0,
        "map50": map50,
    }


def test_a_log_is_read_back_and_a_damaged_one_refused(tmp_path: Path) -> None:
    log = [line(1), line(2, 0.5)]
    write_log(tmp_path, log)
    assert read_log(tmp_path) == log
    path = tmp_path / "log.jsonl"
    assert [json.loads(each) for each in path.read_text().splitlines()] == log
    for text in ("{", "[]", json.dumps(line(1) | {"loss": {}}), '{"epoch": 1}'):
        path.write_text(text + "\n")
        with pytest.raises(CheckpointError, match=r"log\.jsonl: damaged, or of another version"):
            read_log(tmp_path)
    path.unlink()
    with pytest.raises(CheckpointError, match=r"log\.jsonl: cannot read the log"):
        read_log(tmp_path)


def test_a_network_says_how_many_images_it_has_seen(tmp_path: Path) -> None:
    state = training_state(SPEC)
    write_network(tmp_path, "last", model(SPEC, state, title="network"), seen=1234)
    assert read_cfg(tmp_path / "last.cfg") == SPEC
    found = read_weights(tmp_path / "last.weights", SPEC)
    assert torch.equal(found[0].kernel, state[0].kernel)
    # Three int32 of the version, then the count.
    assert np.fromfile(tmp_path / "last.weights", np.uint64, count=1, offset=12) == 1234
    assert not (tmp_path / "last.names").exists()


def test_settings_and_surroundings_are_written(tmp_path: Path) -> None:
    write_settings(tmp_path, CONFIG, {"data": "hands"})
    config = json.loads((tmp_path / "config.json").read_text())
    assert (config["epochs"], config["data"]) == (CONFIG.epochs, "hands")
    environment = json.loads((tmp_path / "environment.json").read_text())
    assert environment["packages"]["torch"] == torch.__version__
    assert environment["processor"]


def test_a_picture_shows_the_first_samples_with_their_boxes(tmp_path: Path) -> None:
    batch = Batch(
        images=torch.zeros(6, 3, 32, 48, dtype=torch.uint8),
        image=torch.tensor([1]),
        label=torch.tensor([0]),
        boxes=torch.tensor([[8.0, 8, 40, 24]]),
    )
    write_batch_picture(tmp_path, batch, limit=5)
    picture = cv2.imread(str(tmp_path / "batch.jpg"))
    assert picture is not None and picture.shape == (2 * 32, 4 * 48, 3)
    # Of the second sample alone, and green, which JPEG blurs a little.
    green = picture[..., 1] > 128
    rows, columns = np.nonzero(green)
    assert (columns.min() // 48, columns.max() // 48, rows.max() // 32) == (1, 1, 0)
    assert green[8, 48 + 20]


def test_curves_are_a_picture(tmp_path: Path) -> None:
    assert not drawn_lately(tmp_path)
    write_curves(tmp_path, [line(1), line(2, 0.5), line(3, 0.75)], "coco")
    picture = cv2.imread(str(tmp_path / "curves.png"))
    assert picture is not None and picture.shape == (420, 1080, 3)
    # Two curves of the loss and one of the accuracy are colored.
    saturation = picture.max(axis=2).astype(int) - picture.min(axis=2)
    assert (saturation[:, :540] > 60).any() and (saturation[:, 540:] > 60).any()
    assert drawn_lately(tmp_path)
    os.utime(tmp_path / "curves.png", (0, 0))
    assert not drawn_lately(tmp_path)
