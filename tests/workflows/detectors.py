"""A detector of painted cells and its data on disk, for the workflows that use one."""

from pathlib import Path

import pytest

from tests.color_detector import (
    BLUE_OBJECT,
    GREEN_OBJECT,
    color_spec,
    color_state,
    paint,
    write_labels,
)
from yoloprune.frontends.darknet.parser import write_cfg
from yoloprune.frontends.darknet.weights import write_weights

SIZE = (32, 32)


@pytest.fixture
def cfg(tmp_path: Path) -> Path:
    write_cfg(tmp_path / "net.cfg", color_spec())
    write_weights(tmp_path / "net.weights", color_spec(), color_state())
    return tmp_path / "net.cfg"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two green objects and two blue ones, of which one is missed."""
    root = tmp_path / "data"
    paint(root / "a.png", SIZE, {(0, 0): GREEN_OBJECT, (2, 3): BLUE_OBJECT})
    write_labels(root / "a.txt", SIZE, [(0, 0, 0), (2, 3, 1)])
    paint(root / "b.png", SIZE, {(1, 1): GREEN_OBJECT})
    write_labels(root / "b.txt", SIZE, [(1, 1, 0), (0, 3, 1)])
    return root
