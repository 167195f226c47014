"""Small networks on disk, for all commands."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.cli.commands import run
from tests.color_detector import color_spec, color_state
from tests.training.painted import paint
from yoloprune.frontends.darknet.initialization import random_state
from yoloprune.frontends.darknet.parser import write_cfg
from yoloprune.frontends.darknet.weights import write_weights
from yoloprune.frontends.darknet.zoo import yolov3_tiny


@dataclass(frozen=True)
class Pair:
    cfg: Path
    weights: Path


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    spec = yolov3_tiny(classes=2, width=0.125, size=(64, 64))
    write_cfg(tmp_path / "dense.cfg", spec)
    write_weights(tmp_path / "dense.weights", spec, random_state(spec))
    return Pair(tmp_path / "dense.cfg", tmp_path / "dense.weights")


@pytest.fixture
def network(tmp_path: Path) -> tuple[Path, Path]:
    """A detector of painted cells."""
    cfg, weights = tmp_path / "net.cfg", tmp_path / "net.weights"
    write_cfg(cfg, color_spec())
    write_weights(weights, color_spec(), color_state())
    return cfg, weights


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set `data`, an untrained `net.cfg` and a trained `run`: to be read, not changed."""
    root = tmp_path_factory.mktemp("train")
    paint(root / "data", train=16, test=4)
    anchors = "8,8, 12,12, 16,16, 10,20, 20,10, 20,20"
    run("zoo", "yolov3-tiny", "--classes", 1, "--width", 0.125, "--size", 64,
        "--anchors", anchors, "--out", root / "net.cfg")  # fmt: skip
    result = run("train", root / "net.cfg", "--data", root / "data", "--out", root / "run",
                 "--epochs", 1, "--batch-size", 4, "--workers", 0, "--quiet")  # fmt: skip
    assert result.exit_code == 0, (result.output, result.exception)
    return root
