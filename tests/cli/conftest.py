"""Small networks on disk, for all commands."""

from dataclasses import dataclass
from pathlib import Path

import pytest
from colour_detector import colour_spec, colour_state

from yoloprune.darknet.parser import write_cfg
from yoloprune.darknet.weights import write_weights
from yoloprune.darknet.zoo import yolov3_tiny
from yoloprune.model.initialization import random_state


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
    write_cfg(cfg, colour_spec())
    write_weights(weights, colour_spec(), colour_state())
    return cfg, weights
