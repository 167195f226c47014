from dataclasses import replace
from pathlib import Path

import pytest

from tests.workflows.detectors import cfg  # noqa: F401
from yoloprune.errors import CfgError
from yoloprune.frontends.onnx.resized import image_size
from yoloprune.workflows.export import export
from yoloprune.workflows.lever_points import Setting, sized
from yoloprune.workflows.models import load


def test_names() -> None:
    dense = Setting(height=32, width=64)
    assert dense.name == "64x32" and dense.folder == "64x32-1"
    all_of_them = replace(dense, keep_macs=0.6, blocks=2, int8=True)
    assert all_of_them.name == "64x32, 0.6 of the MACs, 2 blocks fewer, int8"
    assert all_of_them.folder == "64x32-0.6-without-2"
    timed = replace(dense, keep_ms=0.5, blocks=1)
    assert timed.name == "64x32, pruned to 0.5 of the ms, 1 block fewer"
    assert timed.folder == "64x32-1-ms-0.5-without-1"
    assert replace(dense, blocks=1).name == "64x32, 1 block fewer"


def test_a_network_for_another_size(cfg: Path, tmp_path: Path) -> None:  # noqa: F811
    dense = load(cfg)
    assert sized(dense, *image_size(dense)) is dense
    export(dense, tmp_path / "raw.onnx", decode=False)
    for network in (dense, load(tmp_path / "raw.onnx")):
        found = sized(network, 64, 96)
        assert image_size(found) == (64, 96) and not found.document.source
        assert all(found.parameters[own].equal(a) for own, a in network.parameters.items())
    with pytest.raises(CfgError):
        sized(dense, 0, 32)
