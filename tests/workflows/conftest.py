"""Small networks and images, for all workflows."""

from pathlib import Path

import pytest

from tests.training.painted import paint
from yoloprune.frontends.darknet.initialization import random_state
from yoloprune.frontends.darknet.parser import write_cfg
from yoloprune.frontends.darknet.weights import write_weights
from yoloprune.frontends.darknet.zoo import yolov3_tiny
from yoloprune.graph.model import Model
from yoloprune.workflows.models import load

SPEC = yolov3_tiny(classes=2, width=0.125, size=(64, 64))


@pytest.fixture
def dense(tmp_path: Path) -> Model:
    """A network with random weights, in `dense.cfg` and `dense.weights`."""
    write_cfg(tmp_path / "dense.cfg", SPEC)
    write_weights(tmp_path / "dense.weights", SPEC, random_state(SPEC))
    return load(tmp_path / "dense.cfg")


@pytest.fixture
def named(dense: Model) -> Model:
    """The dense network, whose classes are called hand and foot."""
    cfg = dense.document.source[0]
    cfg.with_suffix(".names").write_text("hand\nfoot\n")
    return load(cfg)


@pytest.fixture(scope="session")
def painted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set of one class: to be read, not changed."""
    return paint(tmp_path_factory.mktemp("painted") / "data", train=16, test=4)


@pytest.fixture(scope="session")
def detector(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """A network for `painted`, with random weights."""
    folder = tmp_path_factory.mktemp("detector")
    anchors = ((8, 8), (12, 12), (16, 16), (10, 20), (20, 10), (20, 20))
    spec = yolov3_tiny(classes=1, width=0.125, size=(64, 64), anchors=anchors)
    write_cfg(folder / "net.cfg", spec)
    write_weights(folder / "net.weights", spec, random_state(spec))
    return load(folder / "net.cfg")
