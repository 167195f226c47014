"""TensorBoard's own reader finds what a run has logged."""

from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from yoloprune.errors import MissingDependencyError
from yoloprune.training import tensorboard


def test_tensorboard_reads_the_log(tmp_path: Path) -> None:
    add = tensorboard.tensorboard_log(tmp_path, "coco")
    for epoch, accuracy in ((1, None), (2, 0.25)):
        add(
            {
                "epoch": epoch,
                "learning_rate": 0.01,
                "loss": {"box": 3.0 / epoch},
                "zero_channels": 0.0,
                "map50": accuracy,
            }
        )
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert [(e.step, e.value) for e in events.Scalars("loss/box")] == [(1, 3.0), (2, 1.5)]
    assert [(e.step, e.value) for e in events.Scalars("map50/coco")] == [(2, 0.25)]


def test_where_it_is_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tensorboard.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError, match="pip install"):
        tensorboard.tensorboard_log(tmp_path, "coco")
    assert not list(tmp_path.iterdir())
