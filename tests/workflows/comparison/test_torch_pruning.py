"""Torch-Pruning, on a small network."""

from pathlib import Path

import pytest

from yoloprune.workflows.comparison import foreign, torch_pruning
from yoloprune.workflows.match import match
from yoloprune.workflows.models import load


def test_torch_pruning_is_brought_to_the_budget_and_its_file_verified(net: Path) -> None:
    folder = net.parent
    (folder / "dense.onnx").write_bytes(net.read_bytes())
    foreign._search(torch_pruning.thin, folder, 0.7, 1, folder / "0.onnx")
    slim, dense = load(folder / "0.onnx"), load(net)
    assert slim.cost.macs / dense.cost.macs == pytest.approx(0.7, abs=0.1)
    found = match(dense, slim)
    assert sum(map(len, found.kept.values())) < dense.cost.channels
